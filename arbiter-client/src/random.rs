//! The only place that draws randomness: from the operating system.

use zeroize::Zeroizing;

use crate::error::Error;

/// 32 fresh random bytes that may be shown.
pub(crate) fn bytes() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::Bug("the operating system gives no randomness"))?;
    Ok(bytes)
}

/// 32 fresh random bytes that must stay secret.
pub(crate) fn secret() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| Error::Bug("the operating system gives no randomness"))?;
    Ok(bytes)
}

/// So many of them.
pub(crate) fn secrets(count: usize) -> Result<Vec<Zeroizing<[u8; 32]>>, Error> {
    (0..count).map(|_| secret()).collect()
}
