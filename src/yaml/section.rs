//! The macro by which a part declares its section of the configuration.

/// Declares a section: a struct whose fields are keys, each with its documentation, type and default.
///
/// Gives the struct, `Default`, [`FromYaml`](crate::yaml::FromYaml), [`Section`](crate::yaml::Section), and `KEYS`. A key that is not the field's name
/// stands after `as`. With `check = function;` first, `function(&mut section, &Node, &mut Faults)` looks at the whole
/// once it has been read. With `foreign = function;` after that, `function(&str) -> Option<String>` says of a key that
/// people bring from another program's file why it is not known here, and what to do.
///
/// ```
/// watchfire::section! {
///     check = |s: &mut Limits, node: &watchfire::yaml::Node, faults: &mut watchfire::yaml::Faults| {
///         if s.low > s.high {
///             faults.error(node.at, "low is above high");
///         }
///     };
///     /// Bounds.
///     pub struct Limits {
///         /// The lower bound.
///         pub low: u64 = 0,
///         /// The upper bound.
///         pub high: u64 = 10,
///         /// What it is for.
///         pub purpose: String as "for" = String::new(),
///     }
/// }
/// assert_eq!(Limits::KEYS, ["low", "high", "for"]);
/// ```
#[macro_export]
macro_rules! section {
    (
        $(check = $check:expr;)?
        $(foreign = $foreign:expr;)?
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])* pub $field:ident : $type:ty $(as $key:literal)? = $default:expr ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl $name {
            /// The keys of this section, in the order of their declaration.
            pub const KEYS: &'static [&'static str] = &[$( $crate::section!(@key $field $($key)?) ),*];
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: $default, )* }
            }
        }

        impl $crate::yaml::FromYaml for $name {
            fn from_yaml(node: &$crate::yaml::Node, faults: &mut $crate::yaml::Faults) -> Option<Self> {
                let $crate::yaml::Value::Mapping(entries) = &node.value else {
                    faults.unexpected(node, "a mapping");
                    return None;
                };
                #[allow(unused_mut, reason = "a section may have no keys")]
                let mut section = Self::default();
                for (key, value) in entries {
                    if !$crate::yaml::Section::read_key(&mut section, &key.name, value, faults) {
                        $( if let Some(message) = ($foreign)(&key.name) {
                            faults.error(key.at, message);
                            continue;
                        } )?
                        faults.unknown_key(key.at, &key.name, Self::KEYS);
                    }
                }
                $( ($check)(&mut section, node, faults); )?
                Some(section)
            }

            #[allow(unused_variables, reason = "a section may have no keys")]
            fn key_paths(path: &str, paths: &mut Vec<String>) {
                $(
                    let key = $crate::section!(@key $field $($key)?);
                    let below = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                    paths.push(below.clone());
                    <$type as $crate::yaml::FromYaml>::key_paths(&below, paths);
                )*
            }

            fn as_yaml(&self) -> Option<$crate::yaml::Value> {
                let entries: [(&str, Option<$crate::yaml::Value>); Self::KEYS.len()] = [$(
                    ($crate::section!(@key $field $($key)?), $crate::yaml::FromYaml::as_yaml(&self.$field)),
                )*];
                $crate::yaml::Value::mapping(entries)
            }
        }

        impl $crate::yaml::Section for $name {
            const OPTIONS: &'static [$crate::yaml::KeyInfo] = &[$(
                $crate::yaml::KeyInfo {
                    key: $crate::section!(@key $field $($key)?),
                    about: concat!($($doc),*),
                    switch: <$type as $crate::yaml::FromYaml>::SWITCH,
                },
            )*];

            #[allow(unused_variables, reason = "a section may have no keys")]
            fn read_key(&mut self, key: &str, value: &$crate::yaml::Node, faults: &mut $crate::yaml::Faults) -> bool {
                match key {
                    $( $crate::section!(@key $field $($key)?) => {
                        $crate::yaml::read_field(&mut self.$field, value, faults);
                        true
                    } )*
                    _ => false,
                }
            }
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
}
