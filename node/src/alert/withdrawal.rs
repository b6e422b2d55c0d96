//! Withdrawals: the issuer's last word on an alert, the same for everybody.

use serde::{Deserialize, Serialize};

use super::{AlertError, WITHDRAWAL_TYP};
use crate::id::{AlertId, AuthorityId, Bounds, CLOCK_TOLERANCE_S, KeyId, Timestamp, Version};
use crate::jose::{self, JoseError, PublicKey, SigningKey};

/// The permanent withdrawal of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// Issuer.
    pub iss: AuthorityId,
    /// The alert.
    pub jti: AlertId,
    /// Its last version.
    pub ver: Version,
    /// When signed, UTC seconds.
    pub iat: i64,
}

/// Signs a withdrawal.
///
/// # Errors
/// When the key does not sign now.
pub fn withdraw(
    id: &AlertId,
    version: Version,
    now: Timestamp,
    key: &SigningKey,
) -> Result<String, AlertError> {
    let withdrawal = Withdrawal {
        iss: id.authority().clone(),
        jti: id.clone(),
        ver: version,
        iat: now.seconds(),
    };
    Ok(jose::sign(WITHDRAWAL_TYP, &withdrawal, key)?)
}

/// Verifies a withdrawal strictly.
///
/// # Errors
/// When it does not verify, names another issuer, or is dated in the future.
pub fn verify_withdrawal(
    jws: &str,
    key_of: impl FnOnce(&AuthorityId, &KeyId) -> Option<PublicKey>,
    now: impl Into<Bounds>,
) -> Result<Withdrawal, AlertError> {
    let claimed: Withdrawal = jose::peek(WITHDRAWAL_TYP, jws)?;
    let verified: Result<Withdrawal, JoseError> =
        jose::verify(WITHDRAWAL_TYP, jws, |kid| key_of(&claimed.iss, kid));
    let withdrawal = verified?;
    if withdrawal.jti.authority() != &withdrawal.iss {
        return Err(AlertError::NotTheIssuer);
    }
    if withdrawal.iat > now.into().latest.seconds() + CLOCK_TOLERANCE_S {
        return Err(AlertError::FutureIat);
    }
    Ok(withdrawal)
}
