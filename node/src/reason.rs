//! The reasons of refusals: closed, stable, and the same word everywhere. docs/integrating.md lists
//! them.

/// Declares the reasons with the word that programs read and what it means.
macro_rules! reasons {
    ($($variant:ident = $word:literal: $meaning:literal,)*) => {
        /// Why a call or a statement is refused: `reason` of `google.rpc.ErrorInfo`, and of
        /// refusals in receipts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Stable and machine-readable.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What it means, and what to do.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

reasons! {
    WrongDoor = "wrong_door": "The certificate is for the other door of this node.",
    UnknownUser = "unknown_user":
        "No active user has this name and key: an administrator adds the user, a coordinator \
         approves it.",
    WrongRole = "wrong_role":
        "The user's roles do not permit this call: the message names one that does.",
    NotActive = "not_active":
        "The calling node is no active peer here: ask the authority's coordinator.",
    CertificateEnded = "certificate_ended": "The caller's certificate has ended: make a new one.",
    NotJudged = "not_judged":
        "The node could not tell whether the caller may: try again, then tell the administrator.",
    UnknownMethod = "unknown_method": "There is no such call at this door.",
    MessageTooLarge = "message_too_large": "The message is larger than this call takes.",
    RequestTooSlow = "request_too_slow":
        "The request did not arrive whole in its time: send it again.",
    ListTooLong = "list_too_long": "A list in the message has more entries than are read.",
    AnswerTooSlow = "answer_too_slow":
        "The answer was not taken, or not ready, in its time: ask for less.",
    TooMuchAtOnce = "too_much_at_once":
        "The caller, or all callers together, hold as much as this node permits: wait, then \
         repeat.",
    StreamTooOld = "stream_too_old": "The stream has reached its age: open another and go on.",
    ShuttingDown = "shutting_down": "The node is ending: try again later.",
    MalformedMessage = "malformed_message":
        "A field of the message does not have its form: the message names it.",
    AuthorityMalformed = "authority_malformed":
        "An authority is written country code, dot, name: dk.politi.",
    IdMalformed = "id_malformed":
        "An alert's id is written dk.politi:2026-481920375; its last digit is a check digit.",
    JsonMalformed = "json_malformed":
        "The text is not the JSON that is expected: the message says where.",
    ReasonMissing = "reason_missing":
        "A reason, justification or confirmation is mandatory: 1 to 500 bytes.",
    PlaceUnknown = "place_unknown": "No such place in the log: begin anew without one.",
    ValueNotPermitted = "value_not_permitted":
        "A value of the draft is not what its field may hold: the list of faults names each.",
    Placeholder = "placeholder": "The draft still has a placeholder of its template: replace it.",
    ClaimMissing = "claim_missing": "The draft lacks a field that its category needs.",
    ClaimNotPermitted = "claim_not_permitted":
        "The category of the alert or of the person does not permit a field.",
    TooManyMatchKeys = "too_many_match_keys":
        "The draft has more searchable values than an alert may.",
    Incompatible = "incompatible":
        "A check of somebody whom an own alert shows as missing or protected: agree with its case \
         officer.",
    ConfirmationNeeded = "confirmation_needed":
        "An alert shows the person as missing or protected: repeat with a reason.",
    CategoryChanges = "category_changes":
        "The update turns the alert into one of another category: repeat with a reason.",
    SameIdentifier = "same_identifier":
        "A live own alert has the same document, VIN or plate: repeat with a reason.",
    Raced = "raced": "Another alert about the same person or thing came in at this moment: repeat.",
    VersionMoved = "version_moved":
        "Somebody else was quicker: look at the alert again, then repeat.",
    NotFound = "not_found": "No alert with this id is held here.",
    NotOwn = "not_own": "The alert is another authority's: only its issuer changes it.",
    Withdrawn = "withdrawn": "The alert was withdrawn by its issuer: its content is erased.",
    Expired = "expired": "The alert's time is over: its content is erased.",
    Retracted = "retracted": "The issuer took the alert back from here: its content is erased.",
    Dropped = "dropped":
        "The alert's copy was dropped after its issuer sent everything anew without it.",
    ImportEnded = "import_ended":
        "The draft was imported before, and its alert has ended: give it a new case, or import it \
         again with a word.",
    AlreadyImported = "already_imported": "The same draft was imported before.",
    NoFreeId = "no_free_id": "No unused id was found: repeat.",
    CaseOfErased = "case_of_erased": "Alerts of erased content can't be found by case.",
    ExportBarred = "export_barred":
        "The handling code H2 bars the token of a received alert from being given out.",
    ExportReasonMissing = "export_reason_missing":
        "The handling codes H1 and H3 ask for a reason before the token is given out.",
    RecordUnreadable = "record_unreadable":
        "A record of the node's own can't be read: the administrator runs `entente-node check`.",
    SearchTooWeak = "search_too_weak":
        "A search takes a strong identifier, or a full name with the full birth date.",
    SearchNameMalformed = "search_name_malformed":
        "A name of the search has a form that no name has.",
    SearchTooManyValues = "search_too_many_values": "A search takes fewer values.",
    LostState = "lost_state":
        "The node lost state and issues nothing until two people have confirmed what is in force.",
    LogKeyEnded = "log_key_ended":
        "The key that signs checkpoints has ended: the administrator prolongs it.",
    StatementKeyEnded = "statement_key_ended":
        "The node's statement key has ended: the administrator prolongs it.",
    ClockInDoubt = "clock_in_doubt":
        "The node's clock is not believed: a peer's head or an administrator confirms it.",
    DiskFull = "disk_full": "The disk is nearly full: free some; withdrawing and erasing go on.",
    StoreUnavailable = "store_unavailable": "The store does not answer: try again later.",
    NodeFault = "node_fault":
        "The node broke off by a fault of its own: repeat, and tell its administrator.",
    NodeUnreadable = "node_unreadable":
        "What the node holds of peers, users or policy can't be read: the administrator runs \
         `entente-node check`.",
    TooLarge = "too_large": "The token is larger than is read.",
    MalformedToken = "malformed_token": "The token does not have the compact form.",
    Base64NotCanonical = "base64_not_canonical": "A part of the token is not canonical base64url.",
    DuplicateClaim = "duplicate_claim": "A JSON object of the token has a name twice.",
    UnknownAlg = "unknown_alg": "The token is not signed with EdDSA.",
    UnknownTyp = "unknown_typ": "The token is of another kind.",
    UnknownHeader = "unknown_header": "The token's header has a member that is not permitted.",
    UnknownKey = "unknown_key": "No valid key of the issuer has this `kid`.",
    SignatureInvalid = "signature_invalid": "The signature does not verify.",
    UnknownSdAlg = "unknown_sd_alg": "The token's digests are not SHA-256.",
    DisclosureMalformed = "disclosure_malformed": "A disclosure does not have its form.",
    DuplicateDigest = "duplicate_digest": "A digest stands twice in the token.",
    OrphanDisclosure = "orphan_disclosure": "A disclosure has no digest in the token.",
    DisclosureReused = "disclosure_reused": "The same disclosure is given twice.",
    ReservedName = "reserved_name": "A disclosure has a reserved name.",
    TooManyDisclosures = "too_many_disclosures":
        "The token has more disclosures or digests than are read.",
    KeyUnsound = "key_unsound": "A key is no sound Ed25519 key.",
    UnknownSchema = "unknown_schema":
        "The alert's schema is not read here: one of the two nodes must be updated.",
    FutureIat = "future_iat":
        "The alert was signed at a time that has not come: one of the two clocks is wrong.",
    PlainClaimMalformed = "plain_claim_malformed":
        "A claim that is in clear in every alert is missing or malformed.",
    NotTheIssuer = "not_the_issuer": "The statement was sent by another than its issuer.",
    OlderVersion = "older_version": "A newer version of the alert is held.",
    Equivocation = "equivocation":
        "Another alert with the same id and version is held: the issuer signed two.",
    NoHello = "no_hello": "A stream begins with a hello.",
    HelloRepeated = "hello_repeated": "A hello stands only at the beginning of a stream.",
    UnknownProtocol = "unknown_protocol": "The two nodes speak no common version of the protocol.",
    Superseded = "superseded": "A newer stream of the same sender has begun.",
    HeadInvalid = "head_invalid": "The head of the batch does not verify.",
    HeadMisdirected = "head_misdirected": "The head is not for this stream.",
    BatchTooLarge = "batch_too_large": "A batch has at most 64 statements.",
    OutOfOrder = "out_of_order": "A place of the stream is missing, repeated or out of order.",
    ChainDiffers = "chain_differs":
        "The chain over the statements is not the one that the head was signed for.",
    TooManyRefused = "too_many_refused":
        "Too many refusals are not acknowledged: resume the stream.",
    DescriptorOutOfBounds = "descriptor_out_of_bounds":
        "A part of the descriptor is out of its bounds.",
    EndpointNotPermitted = "endpoint_not_permitted":
        "An endpoint of the descriptor is not host:port, or an address that no peer can reach.",
    ContactNotPermitted = "contact_not_permitted":
        "The contact of the descriptor has characters that may not stand in it.",
    RootNotInProfile = "root_not_in_profile":
        "A root of the descriptor does not fit the certificate profile.",
    OtherIdentity = "other_identity":
        "The descriptor is signed by another identity key than the one that is held.",
    IdentityChanged = "identity_changed":
        "The identity key has changed: remove the peer and go through the ceremony anew.",
    OldSerial = "old_serial": "A newer descriptor is held.",
    SamePerson = "same_person": "The second person must be another than the first.",
    FingerprintDiffers = "fingerprint_differs":
        "The fingerprint is not the descriptor's: compare it again, over the phone.",
    StateNotPossible = "state_not_possible": "The peer's state does not permit this.",
    OwnDescriptor = "own_descriptor": "This is the node's own descriptor.",
    NoDescriptor = "no_descriptor": "The node has no signed descriptor yet.",
    PolicyTooLong = "policy_too_long": "The policy is longer than is read.",
    PolicyMalformed = "policy_malformed":
        "The policy is not understood: the message names the line.",
    PolicyRuleRefused = "policy_rule_refused":
        "A rule of the policy is refused: the message names it.",
    CertificateNotInProfile = "certificate_not_in_profile":
        "The certificate does not fit the profile: the message says in what.",
    UnknownPeer = "unknown_peer": "No such peer.",
    UnknownPolicy = "unknown_policy": "No such policy.",
    UnknownAlert = "unknown_alert": "No own alert with this id is held here.",
    ActiveUser = "active_user": "An active user has this name: remove it first.",
    KnownUser = "known_user": "There is a user of this name.",
    UserRefused = "user_refused":
        "The name or the roles of the user are refused: the message says why.",
    UnknownProposal = "unknown_proposal": "Nothing waits under this number.",
    ProposalOutdated = "proposal_outdated":
        "What was proposed no longer fits what is in force: propose it anew.",
    TooManyProposals = "too_many_proposals": "Too many proposals wait: approve or take back some.",
    LastOne = "last_one": "The last active person of this role can't be removed.",
    NotStopped = "not_stopped": "The node has not lost state: there is nothing to recover.",
    ClockDiffers = "clock_differs":
        "The time that was confirmed is not the one that the node shows: look again.",
    ReloadRefused = "reload_refused":
        "What was to be reloaded does not validate: the old stays in force.",
    NotInTheLog = "not_in_the_log": "The log is shorter: take a place below its size.",
    AgainNotConfirmed = "again_not_confirmed":
        "Alerts that were taken back would go out again: name their number.",
    ReviewChanged = "review_changed": "What was reviewed has changed: look again.",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
