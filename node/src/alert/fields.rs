//! The fields of an alert: what each means, its form, and an example. This one table parses drafts
//! and signed alerts, and produces the field reference and the JSON Schema.

use super::identifier::IdentifierKind;
use super::text::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use super::vocabulary::{
    Act, BasedOn, Category, Consent, Control, Exploitation, Handling, LocationKind, Means,
    NameKind, ObjectKind, Sex, SubjectCategory, Urgency, Warning,
};

/// Most elements of one list: keeps a token within its bound.
pub(super) const LIST_MAX: usize = 16;

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A word of a vocabulary.
    Word(&'static [&'static str]),
    /// A text of at most this many bytes.
    Text(usize),
    /// Like a text; empty means none.
    NamePart,
    /// ISO 3166-1 alpha-2.
    Country,
    /// A region of this many letters and digits: 4 at level 2, 5 at level 3.
    Nuts(usize),
    /// `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    BirthDate,
    /// RFC 3339.
    Time,
    /// Source and information, e.g. `X4`.
    Evaluation,
    /// An object with fields of its own.
    Record,
    /// Type, country and number.
    Identifier,
    /// A number; made by the node.
    Year,
    /// Made by the node.
    AgeBand,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its names from the top, joined with dots.
    pub(super) name: &'static str,
    /// The form of the value, or of each element.
    pub(super) form: Form,
    /// A list.
    pub(super) many: bool,
    /// Whether the node sets it when it issues the alert, so that no draft has it.
    pub(super) made: bool,
    /// What it says.
    pub(super) means: &'static str,
    /// An example of one element, as JSON.
    pub(super) example: &'static str,
}

impl Field {
    /// Its own name.
    pub(super) fn last(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, last)| last)
    }

    /// The example as the whole value.
    pub(super) fn whole_example(&self) -> String {
        if self.many { format!("[{}]", self.example) } else { self.example.to_owned() }
    }
}

/// The fields of a record, by its names from the top; empty for the alert itself.
pub(super) fn of(parent: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| match (parent, field.name.rsplit_once('.')) {
        ("", above) => above.is_none(),
        (parent, Some((above, _))) => above == parent,
        (_, None) => false,
    })
}

/// The field of this name in a record.
pub(super) fn find(parent: &str, name: &str) -> Option<&'static Field> {
    of(parent).find(|field| field.last() == name)
}

const fn one(name: &'static str, form: Form, example: &'static str, means: &'static str) -> Field {
    Field { name, form, many: false, made: false, means, example }
}

const fn many(name: &'static str, form: Form, example: &'static str, means: &'static str) -> Field {
    Field { many: true, ..one(name, form, example, means) }
}

const fn made(name: &'static str, form: Form, example: &'static str, means: &'static str) -> Field {
    Field { made: true, ..one(name, form, example, means) }
}

const TEXT: Form = Form::Text(TEXT_BYTES_MAX);
const NAME: Form = Form::Text(NAME_BYTES_MAX);

/// Every field, in the order in which people fill them in.
pub(super) const FIELDS: &[Field] = &[
    one(
        "category",
        Form::Word(Category::WORDS),
        r#""missing_protect""#,
        "What the alert is: fixes what is asked for, how long it lives and who may be in it.",
    ),
    many(
        "exploitation",
        Form::Word(Exploitation::WORDS),
        r#""labour""#,
        "Forms of exploitation, at least one (2011/36 as amended by 2024/1712).",
    ),
    many("act", Form::Word(Act::WORDS), r#""transport""#, "Acts of trafficking (2011/36 Art. 2)."),
    many(
        "means",
        Form::Word(Means::WORDS),
        r#""deception""#,
        "Means of trafficking (2011/36 Art. 2); for a child none is needed.",
    ),
    many(
        "control",
        Form::Word(Control::WORDS),
        r#""withholds_documents""#,
        "Means by which somebody is kept under control.",
    ),
    one(
        "urgency",
        Form::Word(Urgency::WORDS),
        r#""urgent""#,
        "Drives clocks; normal when it is left out.",
    ),
    one(
        "urgency_reason",
        TEXT,
        r#""expected to be moved this week""#,
        "Why it is urgent; mandatory when it is.",
    ),
    many(
        "handling",
        Form::Word(Handling::WORDS),
        r#""H0""#,
        "How a receiver may use it: H0 for preventing and combating crime, H1 not in judicial \
         proceedings and H2 no dissemination without permission, H3 another restriction. At least \
         one.",
    ),
    one(
        "handling_text",
        TEXT,
        r#""not to be told to the employer""#,
        "The restriction that H3 stands for.",
    ),
    one(
        "evaluation",
        Form::Evaluation,
        r#""B3""#,
        "Source A reliable, B mostly, C mostly not, X unknown; information 1 certain, 2 known to \
         the source, 3 corroborated, 4 not corroborated. X4 when it is left out.",
    ),
    one("legal_basis", NAME, r#""act 12, section 3""#, "The law that the alert rests on."),
    one(
        "case_ref",
        NAME,
        r#""2026-1234""#,
        "Your case. It leaves the node only where a policy names it.",
    ),
    made("issued_at", Form::Time, r#""2026-11-24T10:00:00Z""#, "When this version was issued."),
    made(
        "review_at",
        Form::Time,
        r#""2027-07-24T10:00:00Z""#,
        "When its issuer must look at it again: four months before its end.",
    ),
    one(
        "expires_at",
        Form::Time,
        r#""2027-01-31T23:59:59Z""#,
        "When it ends. The latest its category permits when it is left out.",
    ),
    many("subjects", Form::Record, r#"{ "category": "missing" }"#, "The people it is about."),
    one(
        "subjects.category",
        Form::Word(SubjectCategory::WORDS),
        r#""missing""#,
        "What the person is in the case: decides which data may exist at all (2016/680 Art. 6).",
    ),
    one(
        "subjects.based_on",
        Form::Word(BasedOn::WORDS),
        r#""fact""#,
        "Whether this rests on facts or on somebody's assessment (2016/680 Art. 7).",
    ),
    many(
        "subjects.names",
        Form::Record,
        r#"{ "family": "Familyname", "given": "Givenname" }"#,
        "Names, in the original script and in Latin letters.",
    ),
    one(
        "subjects.names.kind",
        Form::Word(NameKind::WORDS),
        r#""alias""#,
        "Which of the person's names; primary when it is left out.",
    ),
    one(
        "subjects.names.family",
        Form::NamePart,
        r#""Familyname""#,
        "Family name. A name has this or a given name.",
    ),
    one("subjects.names.given", Form::NamePart, r#""Givenname""#, "Given name."),
    one(
        "subjects.birth_date",
        Form::BirthDate,
        r#""1998-04-12""#,
        "Only a full date makes a name searchable.",
    ),
    made(
        "subjects.birth_year",
        Form::Year,
        "1998",
        "Made from birth_date, so that a policy can give it without the date.",
    ),
    made(
        "subjects.age_band",
        Form::AgeBand,
        r#""25-34""#,
        "Made from birth_date, as birth_year is.",
    ),
    one("subjects.birth_place", NAME, r#""Town, country""#, "Place and country of birth."),
    one("subjects.sex", Form::Word(Sex::WORDS), r#""female""#, "As travel documents have it."),
    many("subjects.nationalities", Form::Country, r#""DK""#, "Nationalities, as countries."),
    many("subjects.descriptions", NAME, r#""about 170 cm, short dark hair""#, "Appearance."),
    many("subjects.marks", NAME, r#""scar on the left hand""#, "Distinguishing marks."),
    many(
        "subjects.identifiers",
        Form::Identifier,
        r#"{ "type": "passport", "country": "DK", "number": "P1234567" }"#,
        "Documents, means of contact, accounts.",
    ),
    one("subjects.behaviour", TEXT, r#""waits outside the hostel""#, "Manner of acting."),
    one("subjects.finances", TEXT, r#""pays in cash""#, "Means and movements of money."),
    many("subjects.convictions", NAME, r#""trafficking, 2019""#, "Earlier convictions."),
    one("subjects.role", NAME, r#""driver""#, "Part in the offence."),
    one("subjects.modus_operandi", TEXT, r#""offers work in a bakery""#, "How it was done."),
    many("subjects.warnings", Form::Word(Warning::WORDS), r#""self_harm""#, "What to beware of."),
    one(
        "subjects.necessity_note",
        TEXT,
        r#""the child is to be kept from leaving""#,
        "Why data of somebody under 18 is strictly necessary; mandatory for children.",
    ),
    one(
        "subjects.consent",
        Form::Word(Consent::WORDS),
        r#""protection""#,
        "Why means of contact of a protected person are in the alert; mandatory where they are.",
    ),
    many("objects", Form::Record, r#"{ "kind": "vehicle" }"#, "The things it is about."),
    one("objects.kind", Form::Word(ObjectKind::WORDS), r#""vehicle""#, "What it is."),
    one(
        "objects.based_on",
        Form::Word(BasedOn::WORDS),
        r#""fact""#,
        "Whether this rests on facts or on somebody's assessment (2016/680 Art. 7).",
    ),
    many(
        "objects.identifiers",
        Form::Identifier,
        r#"{ "type": "plate", "country": "DK", "number": "AB12345" }"#,
        "Its numbers.",
    ),
    one("objects.description", TEXT, r#""white van, dented on the left""#, "What it looks like."),
    many(
        "locations",
        Form::Record,
        r#"{ "kind": "transit", "country": "DK" }"#,
        "The places it is about. Never a shelter, or where a protected person lives.",
    ),
    one("locations.kind", Form::Word(LocationKind::WORDS), r#""transit""#, "What happened there."),
    one(
        "locations.based_on",
        Form::Word(BasedOn::WORDS),
        r#""fact""#,
        "Whether this rests on facts or on somebody's assessment (2016/680 Art. 7).",
    ),
    one("locations.country", Form::Country, r#""DK""#, "Made from nuts2 when it is left out."),
    one(
        "locations.nuts2",
        Form::Nuts(4),
        r#""DK01""#,
        "Region, NUTS 2024 level 2; made from nuts3 when it is left out.",
    ),
    one("locations.nuts3", Form::Nuts(5), r#""DK011""#, "Smaller region, NUTS 2024 level 3."),
    one(
        "locations.text",
        TEXT,
        r#""at the ferry""#,
        "The place in words. It leaves the node only where a policy names it.",
    ),
];

/// The fields of an identifier.
pub(super) const IDENTIFIER_FIELDS: [Field; 3] = [
    one("type", Form::Word(IdentifierKind::WORDS), r#""passport""#, "What the number is."),
    one(
        "country",
        Form::Country,
        r#""DK""#,
        "Who issued it: mandatory for documents and plates, left out for others.",
    ),
    one("number", NAME, r#""P1234567""#, "The number, as it is written."),
];
