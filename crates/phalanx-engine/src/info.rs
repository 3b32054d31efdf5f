//! Info objects: ordered lists of hints, keys and values as text (MPI 5.0 chapter 10).

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Result, fail};

/// Longest key, without the terminator (`MPI_MAX_INFO_KEY` less one).
pub const MAX_KEY: usize = 255;

/// Longest value, without the terminator (`MPI_MAX_INFO_VAL` less one).
pub const MAX_VALUE: usize = 1023;

/// An ordered list of keys and values. Any thread may use it.
#[derive(Debug, Default)]
pub struct Info {
    entries: Mutex<Vec<(String, String)>>,
}

impl Info {
    /// An empty list.
    pub fn new() -> Info {
        Info::default()
    }

    /// A list of the given entries, in that order; later values of a key replace earlier ones.
    ///
    /// # Errors
    /// As [`Info::set`].
    pub fn from_entries<K: AsRef<str>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Info> {
        let info = Info::new();
        for (key, value) in entries {
            info.set(key.as_ref(), value.as_ref())?;
        }
        Ok(info)
    }

    /// What `MPI_INFO_ENV` holds: how this process was started. `host` may be empty when it is not known.
    pub fn environment(command: &str, arguments: &[String], processes: usize, host: &str) -> Info {
        let info = Info::new();
        let add = |key: &str, value: &str| {
            // A value that is not known, or longer than a value may be, is left out: half a command line would mislead.
            if !value.is_empty() && value.len() <= MAX_VALUE {
                info.entries().push((key.to_string(), value.to_string()));
            }
        };
        add("command", command);
        add("argv", &arguments.join(" "));
        add("maxprocs", &processes.to_string());
        add("soft", &processes.to_string());
        add("host", host);
        add("arch", std::env::consts::ARCH);
        if let Ok(directory) = std::env::current_dir() {
            add("wdir", &directory.to_string_lossy());
        }
        add("thread_level", "MPI_THREAD_MULTIPLE");
        info
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a value, which may be empty; the key keeps its place if it was there.
    ///
    /// # Errors
    /// `MPI_ERR_INFO_KEY` for an empty or too long key, `MPI_ERR_INFO_VALUE` for a too long value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let key = check_key(key)?;
        if value.len() > MAX_VALUE {
            fail!(InfoValue, "the value of info key '{key}' has {} bytes; it may have {MAX_VALUE}", value.len());
        }
        let mut entries = self.entries();
        match entries.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => value.clone_into(old),
            None => entries.push((key.to_string(), value.to_string())),
        }
        Ok(())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `MPI_ERR_INFO_KEY` for an empty or too long key; a key that is not there is `None`.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        let key = check_key(key)?;
        Ok(self.entries().iter().find(|(k, _)| k == key).map(|(_, value)| value.clone()))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `MPI_ERR_INFO_NOKEY` when it is not there, `MPI_ERR_INFO_KEY` for an empty or too long key.
    pub fn delete(&self, key: &str) -> Result<()> {
        let key = check_key(key)?;
        let mut entries = self.entries();
        let Some(at) = entries.iter().position(|(k, _)| k == key) else {
            fail!(InfoNokey, "the info object has no key '{key}'");
        };
        entries.remove(at);
        Ok(())
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key set in place `n`, counted from 0.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there are not so many.
    pub fn nth_key(&self, n: i64) -> Result<String> {
        let entries = self.entries();
        match usize::try_from(n).ok().and_then(|n| entries.get(n)) {
            Some((key, _)) => Ok(key.clone()),
            None => fail!(Arg, "the info object has {} keys; there is no key number {n}", entries.len()),
        }
    }

    /// All entries in order.
    pub fn to_entries(&self) -> Vec<(String, String)> {
        self.entries().clone()
    }
}

impl Clone for Info {
    /// A copy of its own (`MPI_Info_dup`).
    fn clone(&self) -> Info {
        Info { entries: Mutex::new(self.to_entries()) }
    }
}

fn check_key(key: &str) -> Result<&str> {
    if key.is_empty() || key.len() > MAX_KEY {
        fail!(InfoKey, "an info key has {} bytes; it must have from 1 to {MAX_KEY}", key.len());
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    #[test]
    fn keys_keep_their_order() {
        let info = Info::from_entries([("b", "1"), ("a", "2"), ("b", "3")]).unwrap();
        assert_eq!(info.len(), 2);
        assert_eq!(info.nth_key(0).unwrap(), "b");
        assert_eq!(info.get("b").unwrap().as_deref(), Some("3"));
        let copy = info.clone();
        info.delete("b").unwrap();
        assert_eq!(info.nth_key(0).unwrap(), "a");
        assert_eq!(copy.len(), 2);
        assert_eq!(info.get("b").unwrap(), None);
    }

    #[test]
    fn limits_are_errors_of_their_own_class() {
        let info = Info::new();
        let class = |result: Result<()>| result.unwrap_err().class();
        assert_eq!(class(info.set("", "v")), ErrorClass::InfoKey);
        assert_eq!(class(info.set(&"k".repeat(256), "v")), ErrorClass::InfoKey);
        assert_eq!(class(info.set("k", &"v".repeat(1024))), ErrorClass::InfoValue);
        assert_eq!(class(info.delete("k")), ErrorClass::InfoNokey);
        assert_eq!(info.nth_key(0).unwrap_err().class(), ErrorClass::Arg);
        assert_eq!(info.nth_key(-1).unwrap_err().class(), ErrorClass::Arg);
        info.set(&"k".repeat(255), &"v".repeat(1023)).unwrap();
        assert_eq!(info.len(), 1);
    }

    #[test]
    fn the_environment_says_how_the_process_was_started() {
        let info = Info::environment("python3", &["a.py".into(), "x".into()], 4, "");
        assert_eq!(info.get("command").unwrap().as_deref(), Some("python3"));
        assert_eq!(info.get("argv").unwrap().as_deref(), Some("a.py x"));
        assert_eq!(info.get("maxprocs").unwrap().as_deref(), Some("4"));
        assert!(info.get("arch").unwrap().is_some());
        assert_eq!(info.get("host").unwrap(), None);
        let long = Info::environment(&"x".repeat(MAX_VALUE + 1), &[], 1, "here");
        assert_eq!(long.get("command").unwrap(), None);
    }
}
