//! Names under which ports are published (MPI 5.0 §11.9.4). The launcher keeps them, for all worlds that it starts.

use crate::boot::{Answer, Pmi};
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result, fail};

/// The longest name of a service or a port, in bytes.
const LONGEST: usize = 1024;

impl Engine {
    /// Publishes a port under a name (`MPI_Publish_name`).
    ///
    /// # Errors
    /// Class `Service` when the name is taken or cannot be one; class `Spawn` when there is no launcher and none can be started.
    pub fn publish_name(&self, service: &str, port: &str) -> Result<()> {
        let line = format!(
            "cmd=publish_name service={} port={}\n",
            word(service, ErrorClass::Service)?,
            word(port, ErrorClass::Port)?
        );
        let answer = self.ask_for_names(&line, "publish_result")?;
        if !answer.line().is_ok() {
            fail!(Service, "the service '{service}' cannot be published: {}", reason(&answer));
        }
        Ok(())
    }

    /// Takes a name back (`MPI_Unpublish_name`).
    ///
    /// # Errors
    /// Class `Service` when it is not published.
    pub fn unpublish_name(&self, service: &str) -> Result<()> {
        let answer = self.ask_for_names(
            &format!("cmd=unpublish_name service={}\n", word(service, ErrorClass::Service)?),
            "unpublish_result",
        )?;
        if !answer.line().is_ok() {
            fail!(Service, "the service '{service}' cannot be taken back: {}", reason(&answer));
        }
        Ok(())
    }

    /// The port that is published under a name (`MPI_Lookup_name`).
    ///
    /// # Errors
    /// Class `Name` when there is none.
    pub fn lookup_name(&self, service: &str) -> Result<String> {
        let answer = self.ask_for_names(
            &format!("cmd=lookup_name service={}\n", word(service, ErrorClass::Service)?),
            "lookup_result",
        )?;
        match answer.line().get("port").map(text) {
            Some(port) if answer.line().is_ok() => Ok(port),
            _ => fail!(Name, "no port is published under the service name '{service}'"),
        }
    }

    fn ask_for_names(&self, line: &str, answer: &str) -> Result<Answer> {
        let ask = |pmi: &mut Pmi| pmi.ask(line, answer);
        if let Some(pmi) = self.pmi().as_mut() {
            return ask(pmi);
        }
        super::with_launcher(self, ask)
    }
}

fn reason(answer: &Answer) -> String {
    phalanx_pmi::reason(&answer.line()).unwrap_or_else(|| "the launcher gave no reason".to_owned())
}

/// A text as one word of a line: everything but printable ASCII is written as `%` and two digits.
///
/// # Errors
/// Of that class, when it is empty or longer than a name can be.
fn word(text: &str, class: ErrorClass) -> Result<String> {
    if text.is_empty() || text.len() > LONGEST {
        return Err(Error::new(class, format!("a name has 1 to {LONGEST} bytes; this one has {}", text.len())));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    Ok(text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect())
}

/// The text that was written as a word.
fn text(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits =
            tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        match digits {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_as_words() {
        for name in ["plain", "two words", "a=b", "100%", "%20", "line\nbreak", "größe", "%"] {
            let line = word(name, ErrorClass::Service).expect("short");
            assert!(line.bytes().all(|b| b.is_ascii_graphic()), "{line}");
            assert_eq!(text(&line), name);
        }
        assert!(word("", ErrorClass::Service).is_err());
        assert!(word(&"x".repeat(LONGEST + 1), ErrorClass::Service).is_err());
    }
}
