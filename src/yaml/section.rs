//! The macro by which a part declares its section of the configuration.

/// Declares a section: a struct whose fields are keys, each with its documentation, type and default.
///
/// Gives the struct, `Default`, [`FromYaml`](crate::yaml::FromYaml), and `KEYS`. A key that is not the field's name
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
            $( $(#[$field_meta:meta])* pub $field:ident : $type:ty $(as $key:literal)? = $default:expr ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
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
                    match key.name.as_str() {
                        $( $crate::section!(@key $field $($key)?) => {
                            $crate::yaml::read_field(&mut section.$field, value, faults);
                        } )*
                        other => {
                            let _ = value;
                            $( if let Some(message) = ($foreign)(other) {
                                faults.error(key.at, message);
                                continue;
                            } )?
                            faults.unknown_key(key.at, other, Self::KEYS);
                        }
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
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
}
