//! Groups of schedules. `default` is there in every region and is not kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::book::{Book, DEFAULT_GROUP, Group};
use super::{GROUPS, PROGRESS, SCHEDULES, ScheduleError, Schedules, gone, lock};
use crate::function::Row;
use crate::function::name::partition;
use crate::function::store::Store;
use crate::function::store_error::StoreError;

/// AWS's own limit.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html>
const GROUPS_MAX: usize = 500;

impl Group {
    fn bytes(&self) -> Vec<u8> {
        json!({
            "createdMs": self.created_ms,
            "modifiedMs": self.modified_ms,
            "tags": self.tags,
            "token": self.token,
        })
        .to_string()
        .into_bytes()
    }

    fn of(bytes: &[u8]) -> Result<Group, String> {
        let read: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let millis = |name: &str| read[name].as_u64().ok_or_else(|| format!("it has no {name}"));
        let tags = read["tags"].as_object().into_iter().flatten();
        Ok(Group {
            created_ms: millis("createdMs")?,
            modified_ms: millis("modifiedMs")?,
            tags: tags
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            token: read["token"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The group that is always there: nothing is known of its making.
    fn default_group() -> Group {
        Group { created_ms: 0, modified_ms: 0, tags: BTreeMap::new(), token: String::new() }
    }
}

pub(super) fn load(store: &Store, book: &mut Book) -> Result<(), StoreError> {
    store.each_row(GROUPS, |key, bytes| {
        book.groups.insert(key.to_owned(), Group::of(bytes)?);
        Ok(())
    })
}

impl Schedules {
    /// Makes a group. The same call again, known by its token, is no error.
    pub fn create_group(
        &self,
        region: &str,
        name: &str,
        tags: BTreeMap<String, String>,
        token: &str,
    ) -> Result<(), ScheduleError> {
        let _writing = lock(&self.shared.writing);
        let key = format!("{region}/{name}");
        let book = self.shared.book();
        if book.has_group(region, name) {
            let there = book.groups.get(&key);
            let same = there.is_some_and(|group| {
                !token.is_empty() && group.token == token && group.tags == tags
            });
            let exists = || ScheduleError::GroupExists(name.to_owned());
            return if same { Ok(()) } else { Err(exists()) };
        }
        if book.groups.len() >= GROUPS_MAX {
            return Err(ScheduleError::TooManyGroups(GROUPS_MAX));
        }
        drop(book);
        let now_ms = (self.shared.clock)();
        let token = token.to_owned();
        self.put_group(key, Group { created_ms: now_ms, modified_ms: now_ms, tags, token })
    }

    pub fn group(&self, region: &str, name: &str) -> Result<Group, ScheduleError> {
        let found = self.shared.book().groups.get(&format!("{region}/{name}")).cloned();
        match found {
            Some(group) => Ok(group),
            None if name == DEFAULT_GROUP => Ok(Group::default_group()),
            None => Err(ScheduleError::NoGroup(name.to_owned())),
        }
    }

    /// At most `max` groups by name, those after `after`, and whether there are more.
    pub fn groups(
        &self,
        region: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> (Vec<(String, Group)>, bool) {
        let book = self.shared.book();
        let place = format!("{region}/");
        let kept = book
            .groups
            .iter()
            .filter_map(|(key, group)| Some((key.strip_prefix(&place)?.to_owned(), group.clone())));
        let mut all: Vec<(String, Group)> = kept
            .chain([(DEFAULT_GROUP.to_owned(), Group::default_group())])
            .filter(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let more = all.len() > max;
        all.truncate(max);
        (all, more)
    }

    /// A group goes with all its schedules.
    pub fn delete_group(&self, region: &str, name: &str) -> Result<(), ScheduleError> {
        if name == DEFAULT_GROUP {
            return Err(ScheduleError::DefaultGroup);
        }
        let _writing = lock(&self.shared.writing);
        let key = format!("{region}/{name}");
        if !self.shared.book().groups.contains_key(&key) {
            return Err(ScheduleError::NoGroup(name.to_owned()));
        }
        let schedules = self.shared.book().of_group(region, name);
        let mut rows = vec![gone(GROUPS, &key)];
        for schedule in &schedules {
            rows.extend([gone(SCHEDULES, schedule), gone(PROGRESS, schedule)]);
        }
        self.shared.store.put_rows(&rows)?;
        let mut book = self.shared.book();
        book.groups.remove(&key);
        schedules.iter().for_each(|schedule| book.remove(schedule));
        Ok(())
    }

    /// Changes the tags of a group as `change` says.
    pub fn change_tags<E: From<ScheduleError>>(
        &self,
        region: &str,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        let _writing = lock(&self.shared.writing);
        let key = format!("{region}/{name}");
        if name == DEFAULT_GROUP {
            return Err(ScheduleError::DefaultGroup.into());
        }
        let mut group = self.group(region, name)?;
        change(&mut group.tags)?;
        group.modified_ms = (self.shared.clock)();
        Ok(self.put_group(key, group)?)
    }

    fn put_group(&self, key: String, group: Group) -> Result<(), ScheduleError> {
        let row = Row { table: GROUPS, key: key.clone(), value: Some(group.bytes()) };
        self.shared.store.put_rows(&[row])?;
        self.shared.book().groups.insert(key, group);
        Ok(())
    }

    pub fn group_arn(&self, region: &str, name: &str) -> String {
        let (partition, account_id) = (partition(region), &self.shared.account_id);
        format!("arn:{partition}:scheduler:{region}:{account_id}:schedule-group/{name}")
    }
}
