//! Names of values: a `Key<T>` carries the type along, a plain `&str` takes it from the call.

use std::fmt;
use std::marker::PhantomData;

/// The name of a value in a session, together with its type.
///
/// ```
/// use sessile::Key;
/// const CART: Key<Vec<String>> = Key::new("cart");
/// ```
pub struct Key<T: ?Sized> {
    name: &'static str,
    value: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Key<T> {
    /// A key of this name.
    pub const fn new(name: &'static str) -> Key<T> {
        Key { name, value: PhantomData }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T: ?Sized> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Key<T> {}

impl<T: ?Sized> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

/// What can name a value of type `T`: a [`Key<T>`], or a `&str` for any `T`.
pub trait AsKey<T: ?Sized> {
    /// The name.
    fn name(&self) -> &str;
}

impl<T: ?Sized> AsKey<T> for Key<T> {
    fn name(&self) -> &str {
        self.name
    }
}

impl<T: ?Sized> AsKey<T> for &Key<T> {
    fn name(&self) -> &str {
        self.name
    }
}

impl<T: ?Sized> AsKey<T> for &str {
    fn name(&self) -> &str {
        self
    }
}

impl<T: ?Sized> AsKey<T> for &String {
    fn name(&self) -> &str {
        self
    }
}
