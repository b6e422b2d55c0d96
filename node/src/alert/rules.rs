//! Which claims may exist: the category of the alert decides who may be in it, the category of the person
//! which data (2016/680 Art. 6; 2016/794 Annex II).

use super::AlertError;
use super::content::{Content, Object, Subject};
use super::identifier::{Identifier, IdentifierKind};
use super::vocabulary::{Category, SubjectCategory, Warning};

/// Checks what is present, in a draft or in a view.
pub(super) fn check(content: &Content) -> Result<(), AlertError> {
    let category = content.category.ok_or(AlertError::Missing("category"))?;
    if content.handling.is_empty() {
        return Err(AlertError::Missing("handling"));
    }
    let evaluation = content.evaluation.as_deref().ok_or(AlertError::Missing("evaluation"))?;
    check_evaluation(evaluation)?;
    for subject in &content.subjects {
        check_subject(category, subject)?;
    }
    if !content.objects.is_empty() && !category.permits_objects() {
        return Err(AlertError::NotPermitted { claim: "objects", category: category.as_str() });
    }
    content.objects.iter().try_for_each(check_object)?;
    for location in &content.locations {
        location.kind.ok_or(AlertError::Missing("locations.kind"))?;
    }
    Ok(())
}

fn check_evaluation(evaluation: &str) -> Result<(), AlertError> {
    let mut letters = evaluation.chars();
    let pair = (letters.next(), letters.next(), letters.next());
    if matches!(pair, (Some('A' | 'B' | 'C' | 'X'), Some('1'..='4'), None)) {
        return Ok(());
    }
    Err(AlertError::Value {
        field: "evaluation",
        why: "a source A, B, C or X and an information 1 to 4, e.g. X4",
    })
}

fn check_subject(category: Category, subject: &Subject) -> Result<(), AlertError> {
    let person = subject.category.ok_or(AlertError::Missing("subjects.category"))?;
    if !category.permits_subject(person) {
        let category = category.as_str();
        return Err(AlertError::NotPermitted { claim: "subjects.category", category });
    }
    let given = [
        ("subjects.descriptions", !subject.descriptions.is_empty()),
        ("subjects.marks", !subject.marks.is_empty()),
        ("subjects.role", subject.role.is_some()),
        ("subjects.modus_operandi", subject.modus_operandi.is_some()),
        ("subjects.behaviour", subject.behaviour.is_some()),
        ("subjects.finances", subject.finances.is_some()),
        ("subjects.convictions", !subject.convictions.is_empty()),
        ("subjects.warnings", !subject.warnings.is_empty()),
        ("subjects.consent", subject.consent.is_some()),
    ];
    let refused = |claim| AlertError::NotPermitted { claim, category: person.as_str() };
    for (claim, given) in given {
        if given && !permits(person, claim) {
            return Err(refused(claim));
        }
    }
    if person.protected() && subject.warnings.iter().any(|w| *w != Warning::SelfHarm) {
        return Err(refused("subjects.warnings"));
    }
    let allowed = |identifier: &Identifier| permits_identifier(person, identifier.kind());
    if !subject.identifiers.iter().all(allowed) {
        return Err(refused("subjects.identifiers"));
    }
    Ok(())
}

fn permits(person: SubjectCategory, claim: &str) -> bool {
    use SubjectCategory as S;
    match person {
        S::Suspect | S::Convicted => claim != "subjects.consent",
        S::VictimPresumed | S::VictimIdentified | S::AtRisk | S::Missing => matches!(
            claim,
            "subjects.descriptions" | "subjects.marks" | "subjects.warnings" | "subjects.consent"
        ),
        S::Witness | S::Summoned | S::Contact | S::Network => false,
    }
}

fn permits_identifier(person: SubjectCategory, kind: IdentifierKind) -> bool {
    use SubjectCategory as S;
    match person {
        S::Suspect | S::Convicted => true,
        S::VictimPresumed | S::VictimIdentified | S::AtRisk | S::Missing => !kind.is_financial(),
        S::Witness | S::Summoned => kind.is_document(),
        S::Contact | S::Network => kind.is_contact(),
    }
}

fn check_object(object: &Object) -> Result<(), AlertError> {
    object.kind.map(|_| ()).ok_or(AlertError::Missing("objects.kind"))
}
