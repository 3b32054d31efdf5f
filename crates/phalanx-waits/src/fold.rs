//! What is told of groups of processes, in no more than so many lines.

use crate::report::{Names, cut, ranks, wrapped};

/// Groups that are told one by one, at most.
const MOST: usize = 8;
/// Characters of what is told of a group: with its place in lines of their own, and in a word.
const LONG: [usize; 2] = [230, 110];

/// Processes of which the same is told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The processes, by slot.
    pub slots: Vec<u32>,
    /// What is told of them, behind their names: ": Recv from rank 3".
    pub said: String,
    /// Where, in whole lines; may be nothing.
    pub place: String,
    /// Where, in a word: "script.py:7"; may be nothing.
    pub brief: String,
}

/// How groups are told.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What stands before each.
    pub indent: &'static str,
    /// What is told, behind their names, of the processes of one group that has no room.
    pub one: &'static str,
    /// The same of several groups that have none.
    pub more: &'static str,
}

/// Tells of groups in no more than `lines` lines, or in those that it takes to count them: two, if ranks have plain numbers.
///
/// The largest ones are told with their places. If there is no room for that, the smaller ones are with theirs in a word, and the
/// smallest are counted. They stay in the order in which they were given.
#[must_use]
pub fn fold(groups: &[Told], lines: usize, manner: Manner, names: &dyn Names) -> String {
    let mut by_size: Vec<usize> = (0..groups.len()).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(groups[*at].slots.len()));
    let whole: Vec<String> = groups.iter().map(|group| whole(group, manner, names)).collect();
    let brief: Vec<String> = groups.iter().map(|group| brief(group, manner, names)).collect();
    let mut told = 0;
    let mut left = 0;
    let mut rest = String::new();
    for most in (0..=groups.len().min(MOST)).rev() {
        rest = counted(groups, &by_size[most..], manner, names);
        let taken = count(&rest) + by_size[..most].iter().map(|at| count(&brief[*at])).sum::<usize>();
        if taken <= lines {
            (told, left) = (most, lines - taken);
            break;
        }
    }
    let mut chosen: Vec<Option<&String>> = vec![None; groups.len()];
    for at in &by_size[..told] {
        let more = count(&whole[*at]).saturating_sub(count(&brief[*at]));
        chosen[*at] = Some(if more <= left { &whole[*at] } else { &brief[*at] });
        left = left.saturating_sub(if more <= left { more } else { 0 });
    }
    chosen.into_iter().flatten().map(String::as_str).chain([rest.as_str()]).collect()
}

fn count(text: &str) -> usize {
    text.lines().count()
}

fn whole(group: &Told, manner: Manner, names: &dyn Names) -> String {
    let mut text = String::new();
    wrapped(&mut text, manner.indent, &format!("{}{}", ranks(&group.slots, names), cut(&group.said, LONG[0])));
    text.push_str(&group.place);
    text
}

fn brief(group: &Told, manner: Manner, names: &dyn Names) -> String {
    let mut text = String::new();
    let place = if group.brief.is_empty() { String::new() } else { format!(" at {}", group.brief) };
    let said = cut(&group.said, LONG[1]);
    wrapped(&mut text, manner.indent, &format!("{}{said}{place}", ranks(&group.slots, names)));
    text
}

/// What is told of groups that have no room.
fn counted(groups: &[Told], at: &[usize], manner: Manner, names: &dyn Names) -> String {
    let mut slots: Vec<u32> = at.iter().flat_map(|at| groups[*at].slots.iter().copied()).collect();
    slots.sort_unstable();
    slots.dedup();
    let mut text = String::new();
    if !slots.is_empty() {
        let what = if at.len() == 1 { manner.one } else { manner.more };
        wrapped(&mut text, manner.indent, &format!("{}{what}", ranks(&slots, names)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Numbers;

    const MANNER: Manner = Manner { indent: "  ", one: ": something else", more: ": something else each" };

    fn group(slots: impl IntoIterator<Item = u32>, line: u32) -> Told {
        Told {
            slots: slots.into_iter().collect(),
            said: ": computes".into(),
            place: format!("      at /home/you/script.py:{line}, in f\n         x = {line}\n"),
            brief: format!("script.py:{line}"),
        }
    }

    #[test]
    fn what_has_room_is_told_whole() {
        let groups = [group([1], 7), group([0, 2, 3], 9)];
        let text = fold(&groups, 6, MANNER, &Numbers);
        assert_eq!(
            text,
            "  rank 1: computes\n      at /home/you/script.py:7, in f\n         x = 7\n  ranks 0, 2, 3: computes\n      \
             at /home/you/script.py:9, in f\n         x = 9\n"
        );
    }

    #[test]
    fn the_largest_keep_their_places() {
        let groups = [group([1], 7), group([0, 2, 3], 9), group([4, 5], 11)];
        let text = fold(&groups, 5, MANNER, &Numbers);
        assert_eq!(
            text,
            "  rank 1: computes at script.py:7\n  ranks 0, 2, 3: computes\n      at /home/you/script.py:9, in f\n         \
             x = 9\n  ranks 4, 5: computes at script.py:11\n"
        );
        let text = fold(&groups, 2, MANNER, &Numbers);
        assert_eq!(text, "  ranks 0, 2, 3: computes at script.py:9\n  ranks 1, 4, 5: something else each\n");
        let text = fold(&groups[..2], 1, MANNER, &Numbers);
        assert_eq!(text, "  ranks 0-3: something else each\n");
        let text = fold(&groups[..1], 0, MANNER, &Numbers);
        assert_eq!(text, "  rank 1: something else\n");
    }

    #[test]
    fn no_mix_of_groups_takes_more_lines() {
        for many in [0, 1, 3, 8, 9, 64, 400] {
            for (size, step) in [(1, 1), (1, 2), (5, 1), (30, 3)] {
                for words in ["computes", &"wait ".repeat(90)] {
                    let of = |at: u32| {
                        let first = at * size * step;
                        let slots = (0..size + at % 2).map(|more| first + more * step);
                        Told { said: format!(": {words}"), ..group(slots, at) }
                    };
                    let groups: Vec<Told> = (0..many).map(of).collect();
                    for lines in 0..30 {
                        let text = fold(&groups, lines, MANNER, &Numbers);
                        assert!(text.lines().count() <= lines.max(2), "{lines}: {text}");
                        assert_eq!(text.is_empty(), many == 0);
                        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
                    }
                }
            }
        }
    }
}
