//! Enums whose variants have fixed names: in the database, the configuration, the log and the metrics.

/// An error shows at most this many characters of an unknown name.
const MAX_SHOWN: usize = 64;

/// A text that isn't one of an enum's names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown name {text:?}: expected one of {}", expected.join(", "))]
pub struct UnknownName {
    text: String,
    expected: &'static [&'static str],
}

impl UnknownName {
    /// The error for a text that isn't one of the expected names. Only the start of the text is kept.
    #[must_use]
    pub fn new(text: &str, expected: &'static [&'static str]) -> Self {
        Self { text: text.chars().take(MAX_SHOWN).collect(), expected }
    }

    /// The names that would have been valid.
    #[must_use]
    pub fn expected(&self) -> &'static [&'static str] {
        self.expected
    }
}

/// Defines a fieldless enum whose variants have fixed names.
///
/// ```text
/// named_enum! {
///     /// Where a submission stands.
///     #[derive(PartialOrd, Ord)]
///     pub enum State {
///         /// Waits for its due time.
///         Pending = "pending",
///     }
/// }
/// ```
///
/// The enum is `Debug`, `Clone`, `Copy`, `Eq` and `Hash`. It has `ALL`, `NAMES`, `as_str()` and `describe()`, which is the
/// variant's documentation; `Display` writes the name, and `FromStr` reads it.
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visibility enum $name { $($(#[doc = $doc])+ $variant),+ }

        #[allow(dead_code, reason = "not every enum uses every item")]
        impl $name {
            /// Every variant, in order.
            $visibility const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),+];

            /// The name of every variant, in order.
            $visibility const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name.
            #[must_use]
            $visibility const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            $visibility const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::named_enum::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::named_enum::UnknownName::new(text, Self::NAMES)),
                }
            }
        }
    };
}

pub(crate) use named_enum;

#[cfg(test)]
mod tests {
    named_enum! {
        /// What a traffic light shows.
        #[derive(PartialOrd, Ord)]
        enum Light {
            /// Stop.
            Red = "red",
            /// Go,
            /// but look.
            Green = "green",
        }
    }

    #[test]
    fn every_name_reads_back_as_written() {
        for (light, name) in Light::ALL.into_iter().zip(["red", "green"]) {
            assert_eq!((light.as_str(), light.to_string().as_str()), (name, name));
            assert_eq!(name.parse(), Ok(light));
        }
        assert!(Light::Red < Light::Green);
    }

    #[test]
    fn the_documentation_of_a_variant_describes_it() {
        assert_eq!(Light::ALL.map(Light::describe), ["Stop.", "Go, but look."]);
    }

    #[test]
    fn an_unknown_name_is_shown_escaped_and_shortened_with_the_names_that_exist() {
        let error = |text: &str| text.parse::<Light>().unwrap_err().to_string();
        assert_eq!(error("Red\n"), r#"unknown name "Red\n": expected one of red, green"#);
        assert!(error(&"é".repeat(10_000)).chars().count() < 200);
    }
}
