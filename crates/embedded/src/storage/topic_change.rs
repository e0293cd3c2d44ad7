//! Changes of a topic that exists: more partitions, other settings.

use super::{
    batch::Refusal,
    topic_config::{self, Given, Type},
};
use kafka_protocol::ResponseError;

/// What is to become of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// So many partitions in all.
    Partitions(i32),
    /// These settings and no others.
    Replace(Vec<(String, String)>),
    /// Some settings, one after the other (KIP-339).
    Edit(Vec<Edit>),
}

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) name: String,
    /// 0 sets, 1 goes back to the default, 2 adds to a list, 3 takes from a list.
    pub(crate) operation: i8,
    pub(crate) value: Option<String>,
}

impl Change {
    /// The partitions and settings of a topic after the change.
    pub(super) fn applied(&self, partitions: i32, given: &Given) -> Result<(i32, Given), Refusal> {
        match self {
            Self::Partitions(count) if *count > partitions => Ok((*count, given.clone())),
            Self::Partitions(count) => {
                let reason = format!(
                    "the topic has {partitions} partitions, {count} would not be more; none is ever taken away"
                );
                Err(Refusal::new(ResponseError::InvalidPartitions, reason))
            }
            Self::Replace(settings) => {
                let mut given = Given::new();
                for (name, value) in settings {
                    set(&mut given, name, value)?;
                }
                Ok((partitions, given))
            }
            Self::Edit(edits) => {
                let mut given = given.clone();
                for edit in edits {
                    edit.apply(&mut given)?;
                }
                Ok((partitions, given))
            }
        }
    }
}

impl Edit {
    fn apply(&self, given: &mut Given) -> Result<(), Refusal> {
        let Self {
            name,
            operation,
            value,
        } = self;
        let needed = || {
            let reason = format!("topic setting {name} has no value");
            value
                .as_deref()
                .ok_or_else(|| Refusal::new(ResponseError::InvalidConfig, reason))
        };
        match operation {
            0 => set(given, name, needed()?),
            1 => {
                topic_config::find(name).map_err(invalid)?;
                given.remove(name);
                Ok(())
            }
            2 | 3 => {
                let changed = changed_list(given, name, *operation == 2, needed()?)?;
                set(given, name, &changed)
            }
            other => {
                let reason = format!("operation {other} on topic setting {name} is unknown");
                Err(Refusal::new(ResponseError::InvalidRequest, reason))
            }
        }
    }
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(ResponseError::InvalidConfig, reason)
}

fn set(given: &mut Given, name: &str, value: &str) -> Result<(), Refusal> {
    topic_config::check(name, value).map_err(invalid)?;
    given.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn changed_list(given: &Given, name: &str, add: bool, value: &str) -> Result<String, Refusal> {
    let setting = topic_config::find(name).map_err(invalid)?;
    if setting.kind != Type::List {
        return Err(invalid(format!("topic setting {name} is no list")));
    }
    let present = given.get(name).map_or(setting.default, String::as_str);
    let words = |text: &'_ str| -> Vec<String> {
        let words = text.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    let changes = words(value);
    let mut list = words(present);
    list.retain(|word| !changes.contains(word));
    if add {
        list.extend(changes);
    }
    Ok(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(name: &str, operation: i8, value: Option<&str>) -> Edit {
        Edit {
            name: name.into(),
            operation,
            value: value.map(Into::into),
        }
    }

    fn given(settings: &[(&str, &str)]) -> Given {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        settings.iter().map(owned).collect()
    }

    type Settings<'a> = &'a [(&'a str, &'a str)];

    /// Edits settings; what is refused is its code.
    fn edited(before: &[(&str, &str)], edits: &[Edit]) -> Result<Given, i16> {
        let change = Change::Edit(edits.to_vec());
        let applied = change.applied(1, &given(before));
        applied
            .map(|(_, after)| after)
            .map_err(|refusal| refusal.error.code())
    }

    #[test]
    fn settings_are_set_reset_and_lists_are_changed() {
        let policy = "cleanup.policy";
        let cases: [(Settings<'_>, Edit, Settings<'_>); 6] = [
            (&[], edit("retention.ms", 0, Some("5")), &[("retention.ms", "5")]),
            (&[("retention.ms", "5")], edit("retention.ms", 1, None), &[]),
            (&[], edit("retention.ms", 1, None), &[]),
            (
                &[],
                edit(policy, 2, Some("compact")),
                &[(policy, "delete,compact")],
            ),
            (
                &[(policy, "delete,compact")],
                edit(policy, 3, Some("delete")),
                &[(policy, "compact")],
            ),
            (
                &[(policy, "compact")],
                edit(policy, 2, Some("compact")),
                &[(policy, "compact")],
            ),
        ];
        for (before, edit, after) in cases {
            assert_eq!(
                edited(before, std::slice::from_ref(&edit)),
                Ok(given(after)),
                "{edit:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let cases = [
            (edit("retention.ms", 0, Some("soon")), 40),
            (edit("retention.ms", 0, None), 40),
            (edit("retention.ms", 2, Some("5")), 40),
            (edit("no.such", 1, None), 40),
            (edit("cleanup.policy", 3, Some("delete")), 40),
            (edit("retention.ms", 4, Some("5")), 42),
        ];
        for (edit, code) in cases {
            let edits = [super::tests::edit("segment.ms", 0, Some("7")), edit];
            assert_eq!(edited(&[], &edits), Err(code), "{edits:?}");
        }
    }

    #[test]
    fn partitions_only_grow() {
        let grown = |count| Change::Partitions(count).applied(3, &Given::new());
        assert_eq!(grown(5), Ok((5, Given::new())));
        for count in [3, 2, 0, -1] {
            assert_eq!(grown(count).unwrap_err().error, ResponseError::InvalidPartitions);
        }
    }
}
