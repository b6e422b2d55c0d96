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
            pub const fn as_str(self) -> &'static str {
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
        "The calling node is not an active peer here: ask the authority's coordinator.",
    CertificateEnded = "certificate_ended": "The caller's certificate has expired: make a new one.",
    NotJudged = "not_judged":
        "The node could not tell whether the caller may do this: try again, then tell the \
         administrator.",
    UnknownMethod = "unknown_method": "There is no such call at this door.",
    MessageTooLarge = "message_too_large": "The message is larger than this call accepts.",
    RequestTooSlow = "request_too_slow":
        "The request did not arrive completely in time: send it again.",
    ListTooLong = "list_too_long": "A list in the message has more entries than the node reads.",
    AnswerTooSlow = "answer_too_slow":
        "The answer was not ready, or not read, in time: ask for less.",
    TooMuchAtOnce = "too_much_at_once":
        "The caller, or all callers together, use as much memory as this node permits: wait, then \
         repeat.",
    StreamTooOld = "stream_too_old":
        "The stream has reached its maximum age: open another and continue.",
    ShuttingDown = "shutting_down": "The node is stopping: try again later.",
    MalformedMessage = "malformed_message":
        "A field of the message is malformed: the message names it.",
    AuthorityMalformed = "authority_malformed":
        "An authority is written as country code, dot, name: dk.politi.",
    IdMalformed = "id_malformed":
        "The id of an alert is written dk.politi:2026-481920375; its last digit is a check digit.",
    JsonMalformed = "json_malformed": "The text is not the expected JSON: the message says where.",
    ReasonMissing = "reason_missing": "A reason or justification is mandatory: 1 to 500 bytes.",
    PlaceUnknown = "place_unknown": "The log has no such place: start again without one.",
    ValueNotPermitted = "value_not_permitted":
        "A field of the draft has a value that it may not have: the list of faults names each.",
    Placeholder = "placeholder": "The draft still has a placeholder from its template: replace it.",
    ClaimMissing = "claim_missing": "The draft lacks a field that its category needs.",
    ClaimNotPermitted = "claim_not_permitted":
        "The category of the alert or of the person does not permit a field of the draft.",
    TooManyMatchKeys = "too_many_match_keys":
        "The draft, or the received alert, has more searchable values than an alert may.",
    Incompatible = "incompatible":
        "The draft is a check of somebody whom an own alert shows as missing or protected: agree \
         with its case officer.",
    ConfirmationNeeded = "confirmation_needed":
        "An alert shows the person as missing or protected: repeat with a reason.",
    CategoryChanges = "category_changes":
        "The update gives the alert another category: repeat with a reason.",
    SameIdentifier = "same_identifier":
        "A live own alert has the same document, VIN or plate: repeat with a reason.",
    Raced = "raced":
        "Another alert about the same person or thing arrived at the same moment: repeat.",
    VersionMoved = "version_moved":
        "The alert has a newer version than expected: look at it again, then repeat.",
    NotFound = "not_found": "The node holds no alert with this id.",
    NotOwn = "not_own": "The alert belongs to another authority: only its issuer can change it.",
    Withdrawn = "withdrawn": "The issuer withdrew the alert: its content is erased.",
    Expired = "expired": "The alert has expired: its content is erased.",
    Retracted = "retracted": "The issuer took the alert back from here: its content is erased.",
    Dropped = "dropped":
        "The copy of the alert was dropped, because its issuer sent everything again without it.",
    ImportEnded = "import_ended":
        "The draft was imported before, and its alert has ended: give it a new case, or ask for a \
         new alert with `recreate`.",
    AlreadyImported = "already_imported": "The same draft was imported before.",
    NoFreeId = "no_free_id": "No unused id was found: repeat.",
    CaseOfErased = "case_of_erased": "Erased alerts can't be found by case.",
    ExportBarred = "export_barred":
        "The handling code H2 forbids giving out the token of a received alert.",
    ExportReasonMissing = "export_reason_missing":
        "The handling codes H1 and H3 require a reason before the token is given out.",
    RecordUnreadable = "record_unreadable":
        "The node can't read one of its records: the administrator runs `entente-node check`.",
    SearchTooWeak = "search_too_weak":
        "A search needs a strong identifier, or a full name with the full birth date.",
    SearchNameMalformed = "search_name_malformed":
        "The search has a name in a form that no name has.",
    SearchTooManyValues = "search_too_many_values": "The search has too many values.",
    LostState = "lost_state":
        "The node lost state and issues nothing until two people have confirmed what is in force.",
    LogKeyEnded = "log_key_ended":
        "The key that signs checkpoints has expired: the administrator prolongs it.",
    StatementKeyEnded = "statement_key_ended":
        "The node's statement key has expired: the administrator prolongs it.",
    SigningFailed = "signing_failed":
        "The node could not sign: its administrator checks what holds its keys.",
    ClockInDoubt = "clock_in_doubt":
        "The node does not trust its clock until a peer's head or an administrator confirms it.",
    DiskFull = "disk_full":
        "The disk is nearly full: free some space; withdrawing and erasing still work.",
    StoreUnavailable = "store_unavailable": "The store does not respond: try again later.",
    NodeFault = "node_fault":
        "The node broke off by a fault of its own: repeat, and tell its administrator.",
    NodeUnreadable = "node_unreadable":
        "The node can't read its peers, users or policy: the administrator runs `entente-node \
         check`.",
    TooLarge = "too_large": "The token is larger than the node reads.",
    MalformedToken = "malformed_token": "The token does not have the compact form.",
    Base64NotCanonical = "base64_not_canonical": "A part of the token is not canonical base64url.",
    DuplicateClaim = "duplicate_claim": "A JSON object in the token has the same name twice.",
    UnknownAlg = "unknown_alg": "The token is not signed with EdDSA.",
    UnknownTyp = "unknown_typ": "The token has another `typ` than expected.",
    UnknownHeader = "unknown_header": "The token's header has a member that is not permitted.",
    UnknownKey = "unknown_key": "No valid key of the issuer has this `kid`.",
    SignatureInvalid = "signature_invalid": "The signature does not verify.",
    UnknownSdAlg = "unknown_sd_alg": "The token's digests are not SHA-256.",
    DisclosureMalformed = "disclosure_malformed": "A disclosure is malformed.",
    DuplicateDigest = "duplicate_digest": "The token has the same digest twice.",
    OrphanDisclosure = "orphan_disclosure": "A disclosure has no digest in the token.",
    DisclosureReused = "disclosure_reused": "The same disclosure is given twice.",
    ReservedName = "reserved_name": "A disclosure uses a reserved name.",
    TooManyDisclosures = "too_many_disclosures":
        "The token has more disclosures or digests than the node reads.",
    KeyUnsound = "key_unsound": "A key is not a valid Ed25519 key.",
    UnknownSchema = "unknown_schema":
        "This node does not read the alert's schema: one of the two nodes must be updated.",
    FutureIat = "future_iat": "The alert is dated in the future: one of the two clocks is wrong.",
    NoRoom = "no_room": "The node has no room for the statement: it is offered again by itself.",
    PeerLacksSchema = "peer_lacks_schema":
        "The peer does not read the alert's schema yet: the alert waits until it does.",
    PeerLacksProtocol = "peer_lacks_protocol":
        "The receiver speaks a version of the protocol without this statement: it waits.",
    PlainClaimMalformed = "plain_claim_malformed":
        "A claim that every alert has in plain text is missing or malformed.",
    DigestDiffers = "digest_differs":
        "The statement is not the one whose digest stands at its place in the batch.",
    NotTheIssuer = "not_the_issuer": "Somebody other than its issuer sent the statement.",
    NotForThisReceiver = "not_for_this_receiver": "The statement is for another authority.",
    StatementTooLong = "statement_too_long": "The statement is longer than any of its kind.",
    NoticeTextRefused = "notice_text_refused":
        "A notice has 1 to 2000 characters, the word on who read it 1 to 200, none of them hidden.",
    TooManyNotices = "too_many_notices":
        "Too many notices from one authority to the other today, unread, or held: wait.",
    NoticeUnknown = "notice_unknown": "This node holds no notice with this id.",
    NoticeAcknowledged = "notice_acknowledged": "The notice has been acknowledged already.",
    NoticeKeyUsed = "notice_key_used":
        "Another notice was sent under this key: leave the key out, or send the same text.",
    OlderVersion = "older_version": "The node holds a newer version of the alert.",
    Equivocation = "equivocation":
        "The node holds a different alert with the same id and version: the issuer signed two.",
    NoHello = "no_hello": "The stream did not begin with a hello.",
    HelloRepeated = "hello_repeated": "A hello came after the beginning of the stream.",
    UnknownProtocol = "unknown_protocol":
        "The two nodes have no version of the protocol in common.",
    Superseded = "superseded": "A newer stream of the same sender has begun.",
    HeadInvalid = "head_invalid": "The head of the batch does not verify.",
    HeadMisdirected = "head_misdirected": "The head is not for this stream.",
    BatchTooLarge = "batch_too_large": "A batch has at most 64 statements.",
    OutOfOrder = "out_of_order": "A place in the stream is missing, repeated or out of order.",
    ChainDiffers = "chain_differs":
        "The chain over the statements is not the one that the head signs.",
    TooManyRefused = "too_many_refused": "Too many refusals are unacknowledged: resume the stream.",
    DescriptorOutOfBounds = "descriptor_out_of_bounds":
        "A part of the descriptor exceeds its bounds.",
    EndpointNotPermitted = "endpoint_not_permitted":
        "An endpoint of the descriptor is not host:port, or an address that no peer can reach.",
    ContactNotPermitted = "contact_not_permitted":
        "The contact in the descriptor has characters that are not permitted.",
    RootNotInProfile = "root_not_in_profile":
        "A root of the descriptor does not fit the certificate profile.",
    OtherIdentity = "other_identity":
        "The descriptor is signed by another identity key than the one the node knows.",
    IdentityChanged = "identity_changed":
        "The identity key has changed: remove the peer, import it again, and compare fingerprints.",
    OldSerial = "old_serial": "The node holds a newer descriptor.",
    SamePerson = "same_person": "The second person must not be the first.",
    FingerprintDiffers = "fingerprint_differs":
        "The fingerprint is not that of the descriptor: compare it again, over the phone.",
    StateNotPossible = "state_not_possible": "The peer's state does not permit this.",
    OwnDescriptor = "own_descriptor": "This is the node's own descriptor.",
    NoDescriptor = "no_descriptor": "The node has no signed descriptor yet.",
    PolicyTooLong = "policy_too_long": "The policy is longer than the node reads.",
    PolicyMalformed = "policy_malformed": "The policy can't be parsed: the message names the line.",
    PolicyRuleRefused = "policy_rule_refused":
        "A rule of the policy is refused: the message names it.",
    CertificateNotInProfile = "certificate_not_in_profile":
        "The certificate does not fit the profile: the message says why.",
    UnknownPeer = "unknown_peer": "The node has no such peer.",
    UnknownPolicy = "unknown_policy": "The node has no such policy.",
    UnknownAlert = "unknown_alert": "The node holds no own alert with this id.",
    ActiveUser = "active_user": "An active user has this name: remove it first.",
    KnownUser = "known_user": "A user with this name exists.",
    UserRefused = "user_refused":
        "The name or the roles of the user are refused: the message says why.",
    UnknownProposal = "unknown_proposal": "Nothing is pending under this number.",
    ProposalOutdated = "proposal_outdated":
        "The proposal no longer fits what is in force: propose it again.",
    TooManyProposals = "too_many_proposals":
        "Too many proposals are pending: approve or withdraw some.",
    LastOne = "last_one": "The last active user with this role can't be removed.",
    NotStopped = "not_stopped": "The node has not lost state: there is nothing to recover.",
    ClockDiffers = "clock_differs":
        "The confirmed time is not the one that the node shows: look again.",
    ReloadRefused = "reload_refused": "The new files do not validate: the old ones stay in force.",
    NotInTheLog = "not_in_the_log": "The log is shorter than that: give a place below its size.",
    AgainNotConfirmed = "again_not_confirmed":
        "Alerts that were taken back would go out again: confirm their number.",
    ReviewChanged = "review_changed": "What was reviewed has changed: read the review again.",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
