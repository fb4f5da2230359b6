//! What `vat call` is to do: a method, its arguments, and the calls on what it answers.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value as Json};

use crate::command_error::{CommandError, Kind};

/// One call of a chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Where in the answer before the reference is that is called; empty: the answer itself.
    pub(crate) fields: Vec<String>,
    pub(crate) method: String,
    pub(crate) arguments: Arguments,
}

/// The arguments of one call, as they were typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arguments {
    /// `key=value` words; the parameter's type decides what a value means.
    Words(Vec<String>),
    /// One JSON object.
    Object(Map<String, Json>),
}

/// The words of each `--then`, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Then(pub(crate) Vec<Vec<String>>);

/// The chain that begins with `method` on the reference itself.
pub(crate) fn steps(
    method: &str,
    arguments: &[String],
    then: &Then,
) -> Result<Vec<Step>, CommandError> {
    let mut steps = vec![step(Vec::new(), method, arguments)?];
    for words in &then.0 {
        steps.push(later_step(words)?);
    }
    Ok(steps)
}

/// `[.field…] method [key=value…]`
fn later_step(words: &[String]) -> Result<Step, CommandError> {
    let end = words
        .iter()
        .position(|word| !word.starts_with('.'))
        .unwrap_or(words.len());
    let (paths, rest) = words.split_at(end);
    let mut fields = Vec::new();
    for path in paths {
        for field in path.split('.').skip(1) {
            if !is_name(field) {
                return Err(wrong(format!("{path:?} is not a field of an answer"))
                    .hint("fields are written .book or .book.pages"));
            }
            fields.push(field.to_owned());
        }
    }
    let Some((method, arguments)) = rest.split_first() else {
        return Err(wrong("`--then` names no method").hint("--then [.field…] method [key=value…]"));
    };
    step(fields, method, arguments)
}

fn step(fields: Vec<String>, method: &str, arguments: &[String]) -> Result<Step, CommandError> {
    if !is_name(method) {
        return Err(wrong(format!("{method:?} is not the name of a method"))
            .hint("vat call <reference> <method> [key=value…]"));
    }
    Ok(Step {
        fields,
        method: method.to_owned(),
        arguments: typed(arguments)?,
    })
}

/// Either one JSON object, or words with a name before the first `=`.
fn typed(arguments: &[String]) -> Result<Arguments, CommandError> {
    if let [only] = arguments
        && only.trim_start().starts_with('{')
    {
        return object(only).map(Arguments::Object);
    }
    for word in arguments {
        if word.trim_start().starts_with('{') {
            return Err(wrong(
                "a JSON object is the only argument, or there is none",
            ));
        }
        let key = word.split_once('=').map(|(key, _)| key);
        if !key.is_some_and(is_name) {
            return Err(wrong(format!("{word:?} is not an argument"))
                .hint("arguments are key=value words, or one JSON object"));
        }
    }
    Ok(Arguments::Words(arguments.to_vec()))
}

fn object(text: &str) -> Result<Map<String, Json>, CommandError> {
    serde_json::from_str(text)
        .map_err(|error| wrong(format!("the arguments are not a JSON object: {error}")))
}

/// Names as they are written in any of the usual ways: `page`, `follow_logs`, `follow-logs`.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && word
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

fn wrong(message: impl Into<String>) -> CommandError {
    CommandError::new(Kind::Usage, message)
}

impl clap::FromArgMatches for Then {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let occurrences = matches.get_occurrences::<String>("then");
        Ok(Self(
            occurrences
                .into_iter()
                .flatten()
                .map(|words| words.cloned().collect())
                .collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Then {
    fn augment_args(command: Command) -> Command {
        let help = "Call a method on the answer before it arrives: one round trip for all. \
                    Repeatable; .field says which reference of the answer";
        command.arg(
            Arg::new("then")
                .long("then")
                .value_names(["[.field…] method", "key=value"])
                .num_args(1..)
                .action(ArgAction::Append)
                .help(help),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        method: String,
        arguments: Vec<String>,
        #[command(flatten)]
        then: Then,
        #[arg(long)]
        json: bool,
    }

    fn parse(line: &[&str]) -> Result<Vec<Step>, CommandError> {
        let words = [&["call"], line].concat();
        let line = Line::try_parse_from(words).map_err(|error| wrong(error.to_string()))?;
        steps(&line.method, &line.arguments, &line.then)
    }

    fn words(words: &[&str]) -> Arguments {
        Arguments::Words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_chain_is_cut_at_every_then() {
        let line = [
            "subdir",
            "name=logs",
            "--then",
            "open",
            "name=today",
            "--then",
            ".file.head",
            ".x",
            "size",
            "--json",
        ];
        let steps = parse(&line).unwrap();
        let seen: Vec<_> = steps
            .iter()
            .map(|s| (s.method.as_str(), s.fields.len()))
            .collect();
        assert_eq!(seen, [("subdir", 0), ("open", 0), ("size", 3)]);
        assert_eq!(steps[0].arguments, words(&["name=logs"]));
        assert_eq!(steps[1].arguments, words(&["name=today"]));
        assert_eq!(steps[2].fields, ["file", "head", "x"]);
        assert_eq!(steps[2].arguments, words(&[]));
        assert!(
            Line::try_parse_from([&["call"], &line[..]].concat())
                .unwrap()
                .json
        );
    }

    #[test]
    fn arguments_are_words_or_one_object() {
        let value = |line: &[&str]| parse(line).unwrap().remove(0).arguments;
        let text = "text=a = b \"c\" {d}";
        assert_eq!(value(&["sign", text, "n=-1"]), words(&[text, "n=-1"]));
        assert_eq!(value(&["sign", "text="]), words(&["text="]));
        let Arguments::Object(object) = value(&["page", " {\"from\": 18446744073709551615}"])
        else {
            panic!("not an object")
        };
        assert_eq!(object["from"].as_u64(), Some(u64::MAX));
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_what_to_write() {
        for (line, message) in [
            (&["sign", "Ann"][..], "\"Ann\" is not an argument"),
            (&["sign", "=x"], "\"=x\" is not an argument"),
            (&["sign", "{\"a\":"], "the arguments are not a JSON object"),
            (&["sign", "{}", "a=1"], "a JSON object is the only argument"),
            (&["name=Ann"], "\"name=Ann\" is not the name of a method"),
            (&["a", "--then", ".b"], "`--then` names no method"),
            (&["a", "--then", ".b..c", "d"], "\".b..c\" is not a field"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(
                error.message.contains(message),
                "{line:?}: {}",
                error.message
            );
        }
    }
}
