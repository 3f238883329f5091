//! What is known about a key of `backup.yaml`: its type, its default and a sentence about it.
//!
//! Each key stands once, in a `keys!` block of [`crate::config_file`]. From there come the field that
//! holds it, the code that reads it, the nearest-key suggestions and the JSON Schema.

use crate::yaml_table::Located;

/// A key as the schema and the documentation show it.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The key in the file.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// Lines of its description.
    pub about: &'static [&'static str],
    /// Its value when it is left out everywhere, as one would write it.
    pub default: Option<&'static str>,
    /// The blocks that know it; empty when there is only one.
    pub levels: &'static [Level],
    /// Regular expression (ECMA 262) that a text has to match.
    pub pattern: Option<&'static str>,
    /// Least and greatest number.
    pub range: (u64, u64),
    /// The texts that are allowed, where there are only a few.
    pub choices: &'static [&'static str],
    /// The block is an error without it.
    pub required: bool,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One text; numbers and the like are taken as written.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`, and the `yes`, `no`, `on`, `off` of YAML 1.1.
    Boolean,
    /// Seconds, or a number with a unit.
    Duration,
    /// A number, a size or a share.
    Amount,
    /// One text or a list of them.
    Texts,
}

/// The blocks that share keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `config`
    Global,
    /// `hosts.NAME`
    Host,
    /// `hosts.NAME.paths[]`
    Path,
    /// Any other block.
    Own,
}

impl KeySpec {
    /// A key without a default and without limits.
    pub const fn new(name: &'static str, kind: Kind, about: &'static [&'static str]) -> Self {
        Self {
            name,
            kind,
            about,
            default: None,
            levels: &[],
            pattern: None,
            range: (0, u64::MAX),
            choices: &[],
            required: false,
        }
    }

    /// Whether a block of this level knows the key.
    pub fn is_known_at(&self, level: Level) -> bool {
        self.levels.is_empty() || self.levels.contains(&level)
    }
}

/// A value that may be missing.
pub type Maybe<T> = Option<Located<T>>;

/// Declares a block of keys: `/// sentence`, `name: kind`, and in braces what else is known of it.
///
/// Gives the struct, its `KEYS`, and `read_keys`, which takes every key of a level out of a table.
/// Fields behind `also` are the block's own business.
macro_rules! keys {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@kind text) => { Kind::Text };
    (@kind text_or_empty) => { Kind::Text };
    (@kind number) => { Kind::Number };
    (@kind boolean) => { Kind::Boolean };
    (@kind duration) => { Kind::Duration };
    (@kind amount) => { Kind::Amount };
    (@kind texts) => { Kind::Texts };
    (@field text) => { Maybe<String> };
    (@field text_or_empty) => { Maybe<String> };
    (@field number) => { Maybe<u64> };
    (@field boolean) => { Maybe<bool> };
    (@field duration) => { Maybe<Duration> };
    (@field amount) => { Maybe<Amount> };
    (@field texts) => { Option<Vec<Located<String>>> };
    (
        $(#[$attribute:meta])*
        pub struct $block:ident {
            $(
                $(#[doc = $about:literal])+
                $field:ident $(as $key:literal)? : $kind:ident $({ $($more:tt)* })?,
            )*
        }
        $(also { $($(#[doc = $other_about:literal])+ $other:ident: $other_type:ty,)* })?
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub struct $block {
            $($(#[doc = $about])+ pub $field: keys!(@field $kind),)*
            $($($(#[doc = $other_about])+ pub $other: $other_type,)*)?
        }

        impl $block {
            /// Its keys, in the order in which they are best read.
            pub const KEYS: &'static [KeySpec] = &[$(
                KeySpec {
                    $($($more)*,)?
                    ..KeySpec::new(keys!(@name $field $($key)?), keys!(@kind $kind), &[$($about),+])
                },
            )*];

            /// Takes every key that this level knows out of a table.
            fn read_keys(&mut self, table: &mut Table<'_>, level: Level, problems: &mut Problems) {
                let mut specs = Self::KEYS.iter();
                $(
                    if let Some(spec) = specs.next()
                        && spec.is_known_at(level)
                    {
                        self.$field = table.$kind(spec.name, problems);
                    }
                )*
            }
        }
    };
}

pub(crate) use keys;
