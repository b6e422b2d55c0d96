//! The vocabularies of the field. A word that is not in its vocabulary is refused.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::nearest::no_word;

/// Declares a vocabulary: its words, in the order in which people read them.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name {
            $($(#[$word_doc])* #[doc = concat!("`", $word, "`")] $variant,)+
        }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Every word.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word for it, on the wire and in records.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    no_word(Self::WORDS, text).0
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.as_str().to_owned()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": Self::WORDS })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

vocabulary!(
    /// Category of an alert: fixes action, retention and who may be in it.
    Category {
        ChildPreventTravel = "child_prevent_travel",
        AdultPreventTravel = "adult_prevent_travel",
        MissingProtect = "missing_protect",
        MissingWhereabouts = "missing_whereabouts",
        DiscreetCheck = "discreet_check",
        InquiryCheck = "inquiry_check",
        SpecificCheck = "specific_check",
        JudicialWhereabouts = "judicial_whereabouts",
        ObjectCheck = "object_check",
        ObjectSeizure = "object_seizure",
        IntelligenceNotice = "intelligence_notice",
    }
);

vocabulary!(
    /// Form of exploitation (2011/36 as amended by 2024/1712).
    Exploitation {
        Sexual = "sexual",
        Labour = "labour",
        Begging = "begging",
        Slavery = "slavery",
        Servitude = "servitude",
        CriminalActivities = "criminal_activities",
        OrganRemoval = "organ_removal",
        Surrogacy = "surrogacy",
        ForcedMarriage = "forced_marriage",
        IllegalAdoption = "illegal_adoption",
        ArmedGroups = "armed_groups",
        Other = "other",
        Unknown = "unknown",
    }
);

vocabulary!(
    /// Act of trafficking (2011/36 Art. 2).
    Act {
        Recruit = "recruit",
        Transport = "transport",
        Transfer = "transfer",
        Harbour = "harbour",
        Receive = "receive",
        ExchangeControl = "exchange_control",
    }
);

vocabulary!(
    /// Means of trafficking (2011/36 Art. 2); for a child none is needed.
    Means {
        Threat = "threat",
        Force = "force",
        Coercion = "coercion",
        Abduction = "abduction",
        Fraud = "fraud",
        Deception = "deception",
        AbuseOfPower = "abuse_of_power",
        AbuseOfVulnerability = "abuse_of_vulnerability",
        Payment = "payment",
    }
);

vocabulary!(
    /// Means of control, in the terms of the Human Trafficking Case Data Standard.
    Control {
        DebtBondage = "debt_bondage",
        TakesEarnings = "takes_earnings",
        RestrictsFinances = "restricts_finances",
        Threats = "threats",
        PsychologicalAbuse = "psychological_abuse",
        PhysicalAbuse = "physical_abuse",
        SexualAbuse = "sexual_abuse",
        FalsePromises = "false_promises",
        PsychoactiveSubstances = "psychoactive_substances",
        RestrictsMovement = "restricts_movement",
        RestrictsMedicalCare = "restricts_medical_care",
        ExcessiveWorkingHours = "excessive_working_hours",
        UsesChildren = "uses_children",
        ThreatOfLawEnforcement = "threat_of_law_enforcement",
        WithholdsNecessities = "withholds_necessities",
        WithholdsDocuments = "withholds_documents",
        Other = "other",
    }
);

vocabulary!(
    /// Determines deadlines.
    Urgency {
        Normal = "normal",
        Urgent = "urgent",
    }
);

vocabulary!(
    /// Handling code: how a receiver may use an alert.
    Handling {
        /// Use for preventing and combating crime.
        H0 = "H0",
        /// Not in judicial proceedings without permission.
        H1 = "H1",
        /// No dissemination without permission.
        H2 = "H2",
        /// Another restriction, in text.
        H3 = "H3",
    }
);

vocabulary!(
    /// Category of a person (2016/680 Art. 6): decides which data may exist at all.
    SubjectCategory {
        Suspect = "suspect",
        Convicted = "convicted",
        VictimPresumed = "victim_presumed",
        VictimIdentified = "victim_identified",
        Witness = "witness",
        Summoned = "summoned",
        Contact = "contact",
        Network = "network",
        Missing = "missing",
        AtRisk = "at_risk",
    }
);

vocabulary!(
    /// Sex, as travel documents have it.
    Sex {
        Female = "female",
        Male = "male",
        Other = "other",
        Unknown = "unknown",
    }
);

vocabulary!(
    /// Which of a person's names.
    NameKind {
        Primary = "primary",
        Birth = "birth",
        Alias = "alias",
    }
);

vocabulary!(
    /// Warnings.
    Warning {
        Armed = "armed",
        Violent = "violent",
        SelfHarm = "self_harm",
    }
);

vocabulary!(
    /// What an object is.
    ObjectKind {
        Vehicle = "vehicle",
        Document = "document",
        Device = "device",
        Account = "account",
        Vessel = "vessel",
        Container = "container",
        Other = "other",
    }
);

vocabulary!(
    /// What happened at a place.
    LocationKind {
        Recruitment = "recruitment",
        Transit = "transit",
        Exploitation = "exploitation",
        Sighting = "sighting",
    }
);

vocabulary!(
    /// Why a victim's means of contact may be in an alert.
    Consent {
        Consent = "consent",
        Protection = "protection",
    }
);

vocabulary!(
    /// What an item rests on: facts, or somebody's assessment (2016/680 Art. 7).
    BasedOn {
        Fact = "fact",
        Assessment = "assessment",
    }
);

const YEAR_S: i64 = 365 * 86_400;

impl Category {
    /// What somebody who finds the person or object is asked to do.
    pub fn action(self) -> &'static str {
        match self {
            Self::ChildPreventTravel | Self::AdultPreventTravel => "prevent_travel",
            Self::MissingProtect => "protect_and_consult",
            Self::MissingWhereabouts | Self::JudicialWhereabouts => "communicate_whereabouts",
            Self::DiscreetCheck => "discreet_check",
            Self::InquiryCheck => "inquiry_check",
            Self::SpecificCheck => "specific_check",
            Self::ObjectCheck => "report",
            Self::ObjectSeizure => "seize",
            Self::IntelligenceNotice => "inform_only",
        }
    }

    /// Longest life of an alert, in seconds (2018/1862 Art. 53; `intelligence_notice`: own choice).
    pub fn retention_s(self) -> i64 {
        match self {
            Self::MissingProtect | Self::MissingWhereabouts => 5 * YEAR_S,
            Self::JudicialWhereabouts => 3 * YEAR_S,
            Self::ObjectCheck | Self::ObjectSeizure => 10 * YEAR_S,
            _ => YEAR_S,
        }
    }

    /// Whether its action is coercive; it is then shown only for a confirmed copy.
    pub fn coercive(self) -> bool {
        matches!(
            self,
            Self::DiscreetCheck | Self::InquiryCheck | Self::SpecificCheck | Self::ObjectSeizure
        )
    }

    /// Whether it asks for a check of a person.
    pub fn is_check(self) -> bool {
        matches!(self, Self::DiscreetCheck | Self::InquiryCheck | Self::SpecificCheck)
    }

    /// Who may be in it.
    pub fn permits_subject(self, subject: SubjectCategory) -> bool {
        use SubjectCategory as S;
        match self {
            Self::ChildPreventTravel | Self::AdultPreventTravel => subject == S::AtRisk,
            Self::MissingProtect => {
                matches!(subject, S::Missing | S::VictimPresumed | S::VictimIdentified)
            }
            Self::MissingWhereabouts => subject == S::Missing,
            Self::DiscreetCheck | Self::InquiryCheck | Self::SpecificCheck => {
                matches!(subject, S::Suspect | S::Convicted)
            }
            Self::JudicialWhereabouts => matches!(subject, S::Witness | S::Summoned),
            Self::ObjectCheck | Self::ObjectSeizure => false,
            Self::IntelligenceNotice => matches!(subject, S::Suspect | S::Contact | S::Network),
        }
    }

    /// Whether objects may be in it.
    pub fn permits_objects(self) -> bool {
        self.is_check()
            || matches!(self, Self::ObjectCheck | Self::ObjectSeizure | Self::IntelligenceNotice)
    }
}

impl SubjectCategory {
    /// People against whom an offence is alleged or found.
    pub fn accused(self) -> bool {
        matches!(self, Self::Suspect | Self::Convicted)
    }

    /// People whom the law primarily protects.
    pub fn protected(self) -> bool {
        matches!(self, Self::VictimPresumed | Self::VictimIdentified | Self::AtRisk | Self::Missing)
    }
}
