//! Synthetic drafts in the shape of the domain, for trials and measurements. The same seed gives
//! the same drafts. Names are made of syllables; nobody real is meant.

use serde_json::{Map, Value, json};

use crate::alert::{
    Act, Category, Control, Exploitation, LocationKind, Means, ObjectKind, SubjectCategory,
};
use crate::id::Entropy;

/// An endless sequence of drafts, which goes through the categories in turn.
pub struct Samples {
    entropy: Entropy,
    number: u64,
    /// The first number of documents and plates.
    origin: u64,
}

/// The numbers of documents and plates that samples draw from: so many that two seeds hardly ever
/// share one.
const NUMBERS: u64 = 1_000_000_000;

/// The step between numbers. It has no factor in common with [`NUMBERS`], so it visits all of them
/// before one repeats: no two samples of a seed share a document or plate.
const STRIDE: u64 = 618_033_989;

/// A script that names are written in: its syllables for given and family names.
struct Script {
    given: &'static [&'static str],
    family: &'static [&'static str],
    country: &'static str,
}

const SCRIPTS: [Script; 6] = [
    Script {
        given: &["Mar", "ina", "el", "so", "ka"],
        family: &["Tor", "vek", "lund", "øy", "sen"],
        country: "DK",
    },
    Script {
        given: &["Lé", "on", "ie", "Am", "bre"],
        family: &["Vau", "cel", "mont", "ré", "gny"],
        country: "FR",
    },
    Script {
        given: &["Ил", "ина", "ров", "Та", "ля"],
        family: &["Кар", "пен", "ко", "ва", "щук"],
        country: "UA",
    },
    Script {
        given: &["Ε", "λε", "νη", "Αν", "δρος"],
        family: &["Πα", "πα", "δο", "κης", "λου"],
        country: "GR",
    },
    Script {
        given: &["نا", "دي", "ة", "سا", "مي"],
        family: &["حد", "اد", "بر", "كا", "ني"],
        country: "SY",
    },
    Script {
        given: &["Ngọ", "c", "Thu", "ý", "Lan"],
        family: &["Trầ", "n", "Phạ", "m", "Đỗ"],
        country: "VN",
    },
];

const NUTS3: [&str; 6] = ["DK011", "FR101", "DE300", "PL911", "RO321", "BG411"];

impl Samples {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        let entropy = Entropy::seeded(seed);
        let origin = entropy.below(NUMBERS);
        Self { entropy, number: 0, origin }
    }

    fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.entropy.below(among.len() as u64) as usize)
    }

    fn word<T: Copy + Into<String>>(&self, among: &[T]) -> Value {
        self.pick(among).map_or(Value::Null, |word| Value::from((*word).into()))
    }

    fn digits(&self, count: u32) -> String {
        let width = count as usize;
        format!("{:0width$}", self.entropy.below(10u64.pow(count)))
    }

    /// The number of a document or plate: nine digits that no other sample of this seed has.
    fn serial(&self) -> String {
        let serial = (self.origin + self.number % NUMBERS * STRIDE) % NUMBERS;
        format!("{serial:09}")
    }

    fn name(&self, syllables: &[&str]) -> String {
        let count = 3 + self.entropy.below(2);
        (0..count).filter_map(|_| self.pick(syllables)).copied().collect()
    }

    fn subject(&self, category: Category) -> Value {
        let person: Vec<SubjectCategory> = SubjectCategory::ALL
            .iter()
            .copied()
            .filter(|person| category.permits_subject(*person))
            .collect();
        let person = self.pick(&person).copied().unwrap_or(SubjectCategory::Suspect);
        let script = self.entropy.below(SCRIPTS.len() as u64) as usize;
        let Some(script) = SCRIPTS.get(script) else { return Value::Null };
        let (family, given) = (self.name(script.family), self.name(script.given));
        let child = category == Category::ChildPreventTravel;
        let year = if child { 2014 } else { 1965 } + self.entropy.below(if child { 9 } else { 40 });
        let (month, day) = (1 + self.entropy.below(12), 1 + self.entropy.below(28));
        let mut subject = Map::new();
        subject.insert("category".to_owned(), json!(person));
        let mut names = vec![json!({ "family": family, "given": given })];
        if !family.is_ascii() {
            let latin = |name: &str| any_ascii::any_ascii(name);
            names
                .push(json!({ "kind": "alias", "family": latin(&family), "given": latin(&given) }));
        }
        subject.insert("names".to_owned(), json!(names));
        subject.insert("birth_date".to_owned(), json!(format!("{year}-{month:02}-{day:02}")));
        subject.insert(
            "sex".to_owned(),
            json!(if self.entropy.below(2) == 0 { "female" } else { "male" }),
        );
        subject.insert("nationalities".to_owned(), json!([script.country]));
        if child || year > 2007 {
            let note = "the child is to be kept from leaving the country";
            subject.insert("necessity_note".to_owned(), json!(note));
        }
        subject.insert("identifiers".to_owned(), self.identifiers(person, script.country));
        if matches!(person, SubjectCategory::Suspect | SubjectCategory::Convicted) {
            let role = ["recruiter", "driver", "enforcer", "accountant"];
            subject.insert("role".to_owned(), self.word(&role));
            subject.insert("marks".to_owned(), json!(["scar on the left hand"]));
        }
        Value::Object(subject)
    }

    fn identifiers(&self, person: SubjectCategory, country: &str) -> Value {
        let number = format!("S{}", self.serial());
        let passport = json!({ "type": "passport", "country": country, "number": number });
        let phone = json!({ "type": "phone", "number": format!("+4520{}", self.digits(6)) });
        let account =
            json!({ "type": "account", "number": format!("example:user{}", self.digits(7)) });
        match person {
            SubjectCategory::Suspect | SubjectCategory::Convicted => {
                json!([passport, phone, account])
            }
            SubjectCategory::Contact | SubjectCategory::Network => json!([phone]),
            _ => json!([passport]),
        }
    }

    fn object(&self) -> Value {
        let kind = [ObjectKind::Vehicle, ObjectKind::Document, ObjectKind::Device];
        let kind = self.pick(&kind).copied().unwrap_or(ObjectKind::Vehicle);
        let identifier = match kind {
            ObjectKind::Document => {
                let number = format!("D{}", self.serial());
                json!({ "type": "passport", "country": "DK", "number": number })
            }
            ObjectKind::Device => {
                json!({ "type": "phone", "number": format!("+4530{}", self.digits(6)) })
            }
            _ => {
                let number = format!("XX{}", self.serial());
                json!({ "type": "plate", "country": "DK", "number": number })
            }
        };
        json!({ "kind": kind, "identifiers": [identifier], "description": "grey, marked" })
    }

    fn draft(&self) -> Value {
        let category = Category::ALL.get(self.number as usize % Category::ALL.len());
        let category = category.copied().unwrap_or(Category::DiscreetCheck);
        let mut draft = json!({
            "category": category,
            "exploitation": [self.word(Exploitation::ALL)],
            "act": [self.word(Act::ALL)],
            "means": [self.word(Means::ALL)],
            "control": [self.word(Control::ALL)],
            "urgency": "normal",
            "handling": [if self.entropy.below(4) == 0 { "H1" } else { "H0" }],
            "evaluation": "B2",
            "legal_basis": "national act on trafficking, section 1",
            "case_ref": format!("SAMPLE-{}-{}", self.number, self.digits(6)),
            "locations": [{
                "kind": self.word(LocationKind::ALL),
                "nuts3": self.word(&NUTS3),
                "text": "near the station",
            }],
        });
        if let Some(draft) = draft.as_object_mut() {
            if SubjectCategory::ALL.iter().any(|person| category.permits_subject(*person)) {
                draft.insert("subjects".to_owned(), json!([self.subject(category)]));
            }
            if category.permits_objects() {
                draft.insert("objects".to_owned(), json!([self.object()]));
            }
        }
        draft
    }
}

impl Iterator for Samples {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let draft = self.draft();
        self.number += 1;
        Some(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Draft;
    use crate::id::Timestamp;

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn every_sample_is_a_draft_that_is_permitted() {
        for (number, sample) in Samples::new(7).take(2000).enumerate() {
            let parsed = Draft::parse(&sample.to_string(), now());
            assert!(parsed.is_ok(), "{number}: {:?}\n{sample}", parsed.err());
        }
    }

    #[test]
    fn no_two_samples_of_a_seed_have_the_same_document_or_plate() {
        let mut seen = std::collections::HashSet::new();
        for sample in Samples::new(7).take(20_000) {
            let content = Draft::parse(&sample.to_string(), now()).unwrap().content().clone();
            let of_subjects = content.subjects.iter().flat_map(|subject| &subject.identifiers);
            let all = of_subjects.chain(content.objects.iter().flat_map(|o| &o.identifiers));
            for identifier in all.filter(|identifier| identifier.kind().needs_country()) {
                assert!(seen.insert(identifier.clone()), "{sample}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        let some = |seed| Samples::new(seed).take(50).collect::<Vec<_>>();
        assert_eq!(some(3), some(3));
        assert_ne!(some(3), some(4));
    }
}
