//! Completion for `kubectl ambit`: kubectl runs `kubectl_complete-ambit WORD… LAST` and reads candidates.
//! In: the words so far and the tree of commands. Out: one candidate a line, a tab, what it is; last a line
//! that says what the shell should do with files. Pure.
//! Spec: cobra's `__complete`: `:4` is "no file names", `:0` the shell's default.

use clap::{Arg, Command};

/// The shell completes file names by itself.
const FILES: &str = ":0";
/// It does not.
const NO_FILES: &str = ":4";

/// What fits the last word.
pub(crate) fn candidates(root: &Command, words: &[String]) -> String {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut command = root;
    let mut globals: Vec<&Arg> = root.get_arguments().filter(|a| a.is_global_set()).collect();
    for word in before {
        if let Some(next) = command.find_subcommand(word) {
            command = next;
            globals.extend(next.get_arguments().filter(|a| a.is_global_set()));
        }
    }
    let options = || command.get_arguments().chain(globals.iter().copied());
    let valued = before
        .last()
        .and_then(|word| options().find(|a| takes(a, word)));
    let mut lines = Vec::new();
    if let Some(option) = valued {
        for value in option.get_possible_values() {
            lines.push(line(
                value.get_name(),
                value.get_help().map(ToString::to_string),
            ));
        }
    } else if last.starts_with('-') {
        for option in options() {
            if let Some(long) = option.get_long().filter(|_| !option.is_hide_set()) {
                let help = option.get_help().map(ToString::to_string);
                lines.push(line(&format!("--{long}"), help));
            }
        }
    } else {
        for sub in command
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        {
            lines.push(line(
                sub.get_name(),
                sub.get_about().map(ToString::to_string),
            ));
        }
        for argument in command.get_positionals() {
            for value in argument.get_possible_values() {
                lines.push(line(
                    value.get_name(),
                    value.get_help().map(ToString::to_string),
                ));
            }
        }
    }
    lines.retain(|line| line.starts_with(last));
    lines.dedup();
    lines.push(if lines.is_empty() { FILES } else { NO_FILES }.to_owned());
    lines.join("\n") + "\n"
}

/// Whether a word is an option whose value comes next.
fn takes(argument: &Arg, word: &str) -> bool {
    let named = match word.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => word
            .strip_prefix('-')
            .is_some_and(|short| argument.get_short().is_some_and(|s| short == s.to_string())),
    };
    named && argument.get_action().takes_values()
}

fn line(name: &str, help: Option<String>) -> String {
    let help = help.unwrap_or_default();
    match help.lines().next() {
        Some(first) if !first.is_empty() => format!("{name}\t{first}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Vec<String> {
        let command = <crate::Cli as clap::CommandFactory>::command();
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let text = candidates(&command, &words);
        let name = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        text.lines().map(name).collect()
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        assert_eq!(complete(&["up"]), ["upgrade", NO_FILES]);
        assert_eq!(
            complete(&["waypoint", ""]),
            ["apply", "generate", "delete", "list", "status", NO_FILES]
        );
        assert_eq!(complete(&["status", "-o", "j"]), ["json", NO_FILES]);
        assert_eq!(complete(&["upgrade", "--can"]), ["--canary-node", NO_FILES]);
        assert!(complete(&["install", "--kube"]).contains(&"--kubeconfig".to_owned()));
        assert_eq!(complete(&["analyze", "x.ya"]), [FILES]);
    }
}
