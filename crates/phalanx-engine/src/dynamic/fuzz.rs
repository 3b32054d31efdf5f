//! What other jobs say, and what they leave in files, with any bytes in it: see [`crate::fuzz`].

use std::path::PathBuf;

use crate::boot;
use crate::error::ErrorClass;

use super::jobs::{GREETING, Greeting};
use super::names::{Entry, text, word};
use super::ports::{Port, from_words, to_words};

pub(crate) fn meeting_seeds() -> Vec<Vec<u8>> {
    let whole = format!("{GREETING} 0b1c-2d 1f 2a3b4c 4711 9 12 0 0,1,2,3");
    vec![
        whole.clone().into_bytes(),
        format!("{whole},4294967295").into_bytes(),
        format!("{GREETING} a b c").into_bytes(),
    ]
}

pub(crate) fn meetings(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    if let Some(greeting) = Greeting::read(&line) {
        assert!(!greeting.members.is_empty() && greeting.members.len() <= bytes.len());
        assert!(!greeting.machine.contains(' '));
    }
    let values: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    assert_eq!(from_words(&to_words(values.iter().copied())), values);
}

pub(crate) fn port_seeds() -> Vec<Vec<u8>> {
    let port = |machine: &str| format!("phalanx:{machine}:2a3b4c:0:16:00000000000000ff").into_bytes();
    vec![port(&boot::machine()), port("another"), b"phalanx:::::".to_vec()]
}

/// A name that is taken is that of one port, and an error repeats no more of one than a line.
pub(crate) fn ports(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    match Port::of(&name) {
        Ok(port) => {
            let again = Port::of(&port.name()).expect("its own name");
            assert_eq!(again.name(), port.name());
            assert!(port.address().len() < 100);
        }
        Err(error) => assert!(error.class() == ErrorClass::Port && error.message().len() < 1500),
    }
}

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    vec![
        b"phalanx-name 1 0b1c-2d-1f-2a 12ab34 1700000000000000000 service%20one phalanx:a:1:2:3:4\n".to_vec(),
        b"phalanx-name 1 a-b 0 0 %c3%a4 %25\n".to_vec(),
    ]
}

/// What is read of a file is what would be written.
pub(crate) fn names(bytes: &[u8]) {
    let content = String::from_utf8_lossy(bytes);
    if let Some(entry) = Entry::read(PathBuf::new(), &content) {
        let _ = (entry.owner.is_dead(), entry.job.rsplit_once('-'), entry.since);
        assert!(entry.port.len() <= 3 * bytes.len());
    }
    match word(&content, ErrorClass::Service) {
        Ok(word) => {
            assert!(word.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(text(&word), content);
        }
        Err(error) => assert_eq!(error.class(), ErrorClass::Service),
    }
    let _ = text(&content);
}
