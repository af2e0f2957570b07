//! Randomness, injected: the operating system's generator, and nothing weaker.

/// Where secrets and identifiers come from.
///
/// An implementation other than [`SystemRandom`] is for simulations only: whoever can predict it
/// can sign in as anybody.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    /// When the generator cannot answer. No token is then made: never a weaker one.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The generator could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the random generator failed, so no session identifier was made")]
pub struct RandomError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|error| RandomError(Box::new(error)))
    }
}

impl<R: Random + ?Sized> Random for std::sync::Arc<R> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        (**self).fill(bytes)
    }
}
