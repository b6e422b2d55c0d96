//! Which claims may exist: the category of the alert decides who may be in it, the category of the
//! person which data (2016/680 Art. 6; 2016/794 Annex II).

use super::content::{Content, Subject};
use super::fault::{FaultKind, Faults, Path};
use super::identifier::IdentifierKind;
use super::vocabulary::{Category, SubjectCategory, Warning};

/// Checks what is present, in a draft or in a view.
pub(super) fn check(content: &Content, faults: &mut Faults) {
    let root = Path::Root;
    if content.category.is_none() {
        let expected = format!("the category is missing: one of {}", Category::WORDS.join(", "));
        faults.missing(root.member("category"), expected, "");
    }
    if content.handling.is_empty() {
        let expected = "at least one handling code: H0, H1, H2 or H3";
        faults.missing(root.member("handling"), expected, "[\"H0\"]");
    }
    if content.evaluation.is_none() {
        faults.missing(root.member("evaluation"), "the evaluation is missing", "\"X4\"");
    }
    check_subjects(content, faults);
    check_objects(content, faults);
    let list = root.member("locations");
    for (number, location) in content.locations.iter().enumerate() {
        if location.kind.is_none() {
            let at = list.element(number);
            faults.missing(at.member("kind"), "what happened there is missing", "\"transit\"");
        }
    }
}

fn check_subjects(content: &Content, faults: &mut Faults) {
    let root = Path::Root;
    let list = root.member("subjects");
    let about_people =
        |category: Category| SubjectCategory::ALL.iter().any(|p| category.permits_subject(*p));
    if let Some(category) = content.category.filter(|category| !about_people(*category)) {
        if !content.subjects.is_empty() {
            let expected = format!("a {category} alert is about objects only: leave persons out");
            faults.add(list, FaultKind::NotPermitted, expected, "");
        }
        return;
    }
    for (number, subject) in content.subjects.iter().enumerate() {
        let at = list.element(number);
        let Some(person) = subject.category else {
            let expected = "the category of the person is missing";
            faults.missing(at.member("category"), expected, "\"missing\"");
            continue;
        };
        if let Some(category) = content.category
            && !category.permits_subject(person)
        {
            faults.add(
                at.member("category"),
                FaultKind::NotPermitted,
                wrong_person(category, person),
                "",
            );
        }
        check_person(at, person, subject, faults);
    }
}

/// Says which persons fit the alert, and which alerts fit the person.
fn wrong_person(category: Category, person: SubjectCategory) -> String {
    let people: Vec<&str> = SubjectCategory::ALL
        .iter()
        .filter(|person| category.permits_subject(**person))
        .map(|person| person.as_str())
        .collect();
    let alerts: Vec<&str> = Category::ALL
        .iter()
        .filter(|category| category.permits_subject(person))
        .map(|category| category.as_str())
        .collect();
    let alerts = match alerts.as_slice() {
        [] => "no category of alert".to_owned(),
        alerts => alerts.join(", "),
    };
    format!(
        "the person's category does not fit the alert's: in {category} it is {}; a {person} may be \
         in {alerts}",
        people.join(" or "),
    )
}

fn check_person(at: Path<'_>, person: SubjectCategory, subject: &Subject, faults: &mut Faults) {
    let given = [
        ("descriptions", !subject.descriptions.is_empty()),
        ("marks", !subject.marks.is_empty()),
        ("role", subject.role.is_some()),
        ("modus_operandi", subject.modus_operandi.is_some()),
        ("behaviour", subject.behaviour.is_some()),
        ("finances", subject.finances.is_some()),
        ("convictions", !subject.convictions.is_empty()),
        ("warnings", !subject.warnings.is_empty()),
        ("consent", subject.consent.is_some()),
    ];
    for (claim, given) in given {
        if given && !permits(person, claim) {
            let expected =
                format!("this is never kept of a person whose category is {person}: leave it out");
            faults.add(at.member(claim), FaultKind::NotPermitted, expected, "");
        }
    }
    let harmful = subject.warnings.iter().any(|warning| *warning != Warning::SelfHarm);
    if person.protected() && harmful {
        let expected = format!(
            "the value is at fault: of a person whose category is {person} there is self_harm only"
        );
        let example = "[\"self_harm\"]";
        faults.add(at.member("warnings"), FaultKind::NotPermitted, expected, example);
    }
    let list = at.member("identifiers");
    for (number, identifier) in subject.identifiers.iter().enumerate() {
        let kind = identifier.kind();
        if !permits_identifier(person, kind) {
            let permitted = IdentifierKind::ALL.into_iter();
            let permitted: Vec<&str> = permitted
                .filter(|kind| permits_identifier(person, *kind))
                .map(IdentifierKind::as_str)
                .collect();
            let expected = format!(
                "an identifier of type {kind} is never kept of a person whose category is \
                 {person}: leave it out; kept are {}",
                permitted.join(", ")
            );
            let number = faults.place(list, number);
            faults.add(list.element(number), FaultKind::NotPermitted, expected, "");
        }
    }
}

/// Claims that not every category of person permits.
pub(super) const RESTRICTED: [&str; 9] = [
    "descriptions",
    "marks",
    "role",
    "modus_operandi",
    "behaviour",
    "finances",
    "convictions",
    "warnings",
    "consent",
];

/// Whether this claim of [`RESTRICTED`] may exist.
pub(super) fn permits(person: SubjectCategory, claim: &str) -> bool {
    use SubjectCategory as S;
    match person {
        S::Suspect | S::Convicted => claim != "consent",
        S::VictimPresumed | S::VictimIdentified | S::AtRisk | S::Missing => {
            matches!(claim, "descriptions" | "marks" | "warnings" | "consent")
        }
        S::Witness | S::Summoned | S::Contact | S::Network => false,
    }
}

/// Whether an identifier of this kind may exist.
pub(super) fn permits_identifier(person: SubjectCategory, kind: IdentifierKind) -> bool {
    use SubjectCategory as S;
    match person {
        S::Suspect | S::Convicted => true,
        S::VictimPresumed | S::VictimIdentified | S::AtRisk | S::Missing => !kind.is_financial(),
        S::Witness | S::Summoned => kind.is_document(),
        S::Contact | S::Network => kind.is_contact(),
    }
}

fn check_objects(content: &Content, faults: &mut Faults) {
    let root = Path::Root;
    let list = root.member("objects");
    if let Some(category) = content.category.filter(|category| !category.permits_objects())
        && !content.objects.is_empty()
    {
        let with: Vec<&str> = Category::ALL
            .iter()
            .filter(|category| category.permits_objects())
            .map(|category| category.as_str())
            .collect();
        let expected = format!(
            "a {category} alert is about persons only: leave objects out, or make another alert of \
             {}",
            with.join(", ")
        );
        faults.add(list, FaultKind::NotPermitted, expected, "");
    }
    for (number, object) in content.objects.iter().enumerate() {
        if object.kind.is_none() {
            let at = list.element(number);
            faults.missing(at.member("kind"), "what it is, is missing", "\"vehicle\"");
        }
    }
}
