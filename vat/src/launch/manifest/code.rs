//! The codes of findings, each with a long explanation.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $title:literal, $text:literal;)+) => {
        /// What kind of finding it is. Codes keep their meaning for good.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What it is about, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                }
            }

            /// What it means, why it is so, and what to do: several paragraphs.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    /// The file cannot be read.
    Unreadable = 1, "the manifest cannot be read",
"The manifest does not exist, is no file, or you may not read it.

A command that takes a manifest wants the path of its file. Relative paths
start from the working directory of the command; the paths inside the manifest
start from the manifest's own folder.";
    /// The file is not UTF-8.
    NotText = 2, "the manifest is not text",
"A manifest is a TOML file in UTF-8. This file contains bytes that are not
UTF-8: it is probably another file, or it was saved in another encoding.";
    /// The file is too large.
    TooLarge = 3, "the manifest is too large",
"A manifest has at most 1 MiB. This limit keeps a wrong path (a log, a disk
image) from being read whole into memory.";
    /// The file is not TOML.
    Syntax = 4, "the manifest is not TOML",
"The text breaks a rule of TOML: a quote that is not closed, a key given twice,
a table opened twice. Nothing else is checked until this is corrected.

    [vat]
    name = hello        # wrong: text needs quotes
    name = \"hello\"      # right";
    /// The version of the manifest is missing or unknown.
    Version = 101, "unknown manifest version",
"A manifest begins with the version of its own format:

    manifest = 1

A program that does not know the version refuses the file: a guess about
grants could hand out more than was meant.";
    /// A key or table that must be there is missing.
    MissingKey = 102, "something is missing",
"A table lacks a key that it must have. Every manifest has [vat] with a name,
and [program] or [children.<name>] with `exec` or `cargo`. Every slot has a
`type`, and so has every reference that a program exposes; what an ensemble of
several children exposes says with `from` which child's it is.

    manifest = 1
    [vat]
    name = \"hello\"
    [program]
    exec = \"./hello\"";
    /// A key that is not known in this place.
    UnknownKey = 103, "unknown key",
"The manifest has a key that means nothing in this place. Unknown keys are
errors, because a misspelt key would otherwise silently take away a limit or a
check:

    [use.notes]
    type    = \"Directory\"
    right   = [\"read\"]      # wrong: the key is `rights`

The message lists the keys that are known there and names the nearest one.";
    /// A value of another type than the key wants.
    WrongType = 104, "wrong type of value",
"The key is right, but its value has another type than it must have: a number
instead of text, text instead of a list.

    listen = \"127.0.0.1:7447\"      # wrong: a list is wanted
    listen = [\"127.0.0.1:7447\"]    # right";
    /// A part of the format that this version does not have.
    NotSupported = 105, "not supported by this version",
"The manifest uses a part of the format that this version of vat does not have.
It is refused rather than ignored: starting half of what a manifest says would
be worse than starting nothing.

This version reads manifests of one program or of several children. Remove the
table or key, or use a newer version.";
    /// Two things that exclude each other, or one that means nothing.
    Contradiction = 106, "contradiction",
"Two keys exclude each other, or a value allows nothing at all. A program is
named either by `exec` (a file) or by `cargo` (a target that vat builds); a
Cargo target is either a `bin` or an `example`; a grant is a `dir`, a `ref` or a
`network`; a list of rights names at least one right.

What runs is one [program] or several [children]. With one program, an exposed
reference needs no `from`, and the strategies \"one_for_all\" and
\"rest_for_one\" mean nothing.";
    /// A number or duration outside of what is allowed.
    OutOfRange = 107, "value out of range",
"A number or a duration is outside of what is allowed for its key. The message
says the limits.

For the restarts of a supervisor: `factor` is at least 1, `jitter` lies
between 0 and 1, `within` is longer than nothing, and `initial` is not longer
than `max`.";
    /// More of something than is possible.
    TooMany = 108, "too many children",
"One manifest describes at most 256 children. An ensemble of more is hard to
look at, and one supervisor with one restart intensity would treat them all
alike. Make several ensembles, each with a manifest of its own; what one
exposes is granted to another by its reference file.";
    /// A name with characters it may not have.
    BadName = 201, "malformed name",
"Names of ensembles and children become names of folders: lower-case letters, digits, `-`
and `_`, a letter first, at most 40 characters.

Names of slots and exposed references are names of fields of the program's
records: lower-case letters, digits and `_`, a letter first, at most 40
characters. In Rust:

    #[derive(vat::Powers)]
    struct Granted { notes: DirectoryRef }      // the slot [use.notes]";
    /// Not the name of an interface.
    BadInterface = 202, "malformed interface name",
"An interface is named by its package and its trait: `hello::Greeter` is the
trait Greeter of the package hello. Modules are not part of the name.

Five interfaces of the system have short names: Directory, File, LogSink,
Clock, Network. Any other interface of the system is written with its package, as in
`vat::Supervisor`.";
    /// Not one of the words allowed here.
    UnknownWord = 203, "unknown word",
"The value is not one of the words allowed for its key. The message lists them.

    rights      \"read\", \"write\"
    restart     \"permanent\" (always), \"transient\" (unless it ended normally), \"temporary\" (never)
    strategy    \"one_for_one\"; with children also \"one_for_all\", \"rest_for_one\"
    confinement \"L2\", \"L3\"";
    /// Not a duration.
    BadDuration = 204, "malformed duration",
"A duration is a number and a unit, in quotes: \"200ms\", \"1.5s\", \"2m\",
\"12h\", \"30d\". The unit is never left out, and the longest duration is 365
days.";
    /// Not an address to listen on.
    BadAddress = 205, "malformed address",
"The launcher listens on an IP address and a port: \"127.0.0.1:7447\",
\"[::1]:7447\". Host names are not looked up here, as one name can stand for
several addresses. Port 0 takes a free port; the launcher remembers it, so
that references stay valid.";
    /// Not a usable path.
    BadPath = 206, "malformed path",
"A path is empty, contains a NUL character, begins with `~` (which only a shell
understands), or is a reference instead of the file that holds it. Relative
paths start from the manifest's folder.";
    /// A socket's path that the kernel would not take.
    BadSocket = 207, "unusable socket path",
"The path of a Unix socket has at most 107 bytes, counted from the root: the
kernel's limit. Its folder must exist, and what is already at the path must be
an old socket, which is replaced.

Choose a shorter path, for instance one in /run/user/<uid>.";
    /// The same address or path twice.
    Duplicate = 208, "given twice",
"The same address or the same socket is given twice. Each listens for one thing
only.";
    /// An address that nobody else can dial.
    Undialable = 209, "an address that cannot be dialled",
"A reference carries the addresses where its vat can be reached. 0.0.0.0 and ::
mean \"every address of this machine\" when listening, but nobody can dial
them: a reference with such an address is useless on another machine.

Listen on the address that others will dial.";
    /// A weak level of confinement.
    WeakConfinement = 210, "confinement too weak",
"Every program is confined before its own code runs. L2 (Landlock and a strict
system call filter) and L3 (namespaces, an empty root and the filter)
withstand the same attacks in our tests. Weaker levels are not offered: `vat
doctor` shows what this machine can enforce.";
    /// Not a destination to dial.
    BadDestination = 211, "malformed destination",
"A Network is granted with a list of the destinations it may dial:

    net = { network = [\"any\"] }                      # every TCP address but special ones
    net = { network = [\"example.net\", \"10.0.0.7:7447\"] }    # any port, or this one
    net = { network = [\"10.0.0.0/8\"] }               # a prefix
    net = { network = [\"unix:/run/peer/vat.sock\"] }  # a Unix socket, absolute

Loopback and link-local addresses are special, and so are Unix sockets: what
answers there often trusts everybody who can reach it. They are reached only
where they are named themselves.";
    /// Not a tag for a log.
    BadTag = 212, "malformed tag",
"A tag is a word that the records of one child carry in the log: 1 to 64 bytes,
without control characters.

    [children.ledger.grants]
    log = { from = \"use.log\", tag = \"ledger\" }";
    /// A slot that nobody fills.
    Unfilled = 301, "unfilled slot",
"The program declares a slot in [use], but nothing in [run.grants] fills it. It
cannot start without:

    [use.log]
    type = \"LogSink\"

    [run.grants]
    log = \"launcher.log\"

The slots of a child are filled in its own grants, from a slot of [use] or from
what an earlier child exposes:

    [children.ledger]
    exec = \"./ledger\"
    use  = { log = \"LogSink\" }

    [children.ledger.grants]
    log = \"use.log\"

If the program can do without, write `optional = true` into the slot.";
    /// A grant for a slot that does not exist.
    Unused = 302, "a grant that nobody uses",
"[run.grants] fills a slot that [use] does not declare, or the grants of a child
fill one that its `use` does not declare. The program could not even name what
it is granted, so the slot is misspelt or the grant is left over.";
    /// What is granted is not what the slot takes.
    TypeMismatch = 303, "type mismatch",
"What is granted has another interface than the slot declares. A directory
fills a slot of type Directory, \"launcher.log\" one of type LogSink,
\"clock\" one of type Clock, { network = [...] } one of type Network. A
reference file can fill a slot of any type: its interface is compared when the
program is launched.

What a child is granted from a slot of [use], or from what another child
exposes, has the same interface on both ends. So has what [expose] gives back:
its `type` can be left out, and is then the child's.";
    /// A grant that allows more than the slot asks for.
    TooBroad = 304, "grant broader than the use declares",
"The grant allows more than the program says it needs. Either the program's
declaration is out of date, or the grant gives away too much:

    [use.notes]
    type   = \"Directory\"
    rights = [\"read\"]

    [run.grants]
    notes = { dir = \"./notes\", rights = [\"read\", \"write\"] }     # wrong

Leave `rights` out of the grant to give exactly what the slot declares. A child
is granted no more of a directory than the slot of [use] declares, and no more
than its own slot asks for.";
    /// A grant that allows less than the slot asks for.
    TooNarrow = 305, "grant narrower than the use declares",
"The grant allows less than the program says it needs: it would start, and fail
later, at the first call that the grant does not allow. Grant what the slot
declares, or declare less.";
    /// Rights on something that has none.
    NoRightsHere = 306, "rights do not apply",
"Only slots of type Directory and File have `rights`. Other interfaces say with
their methods what can be done.

Among the grants of a child, `rights` narrow a directory that comes from a slot
of [use]. A file is passed on as it is, and of what another child exposes that
child alone knows what it allows.";
    /// A grant that is none of the known forms.
    UnknownGrant = 307, "unknown grant",
"[run.grants] is where the operator at the shell fills the slots of a program.
A grant has one of these forms:

    notes  = { dir = \"./notes\", rights = [\"read\", \"write\"] }   # a directory
    notes  = { dir = \"./notes\", create = true }                # made if it is missing
    log    = \"launcher.log\"                                    # the launcher's log
    clock  = \"clock\"                                           # the time and timers
    friend = { ref = \"friend.cap\" }                            # what a reference file names

A reference itself (vat://...) never stands in a manifest: whoever reads it
has what it names.";
    /// A grant of a child that does not say where it comes from.
    BadRoute = 308, "malformed source of a grant",
"What a child is granted comes from one of two places:

    [children.gateway.grants]
    log    = \"use.log\"                   # a slot of the ensemble's [use]
    ledger = \"children.ledger.ledger\"    # what an earlier child exposes
    audit  = { from = \"use.log\", tag = \"audit\" }

Paths, addresses and reference files stand in [run.grants] only: a manifest
passes on what it is given. What the ensemble gives back in [expose] always
comes from a child.";
    /// A grant of a child from something that is not there.
    UnknownRoute = 309, "a grant from something unknown",
"A grant of a child, or an exposed reference of the ensemble, names a slot that
[use] does not declare, a child that [children] does not describe, or something
that the child does not expose. The message names the nearest one.";
    /// A grant of a child from one that starts later.
    LaterRoute = 310, "a grant from a child that starts later",
"Children start in the order of the text, each with everything it is granted. So
what one child exposes can be granted to those further down only. Move the
child that exposes it above the one that uses it.

Two children that each need the other cannot be started in any order. Let one
of them be given the other's reference in a call, once both run.";
    /// A grant of a child from itself.
    OwnRoute = 311, "a grant from the child itself",
"A child is granted what it exposes itself. It exposes it only after it has
started with everything it is granted, so it would wait for itself. A program
has its own objects without a grant.";
    /// A tag on something that is no log.
    TagOnNoLog = 312, "a tag on something that is no log",
"Only a LogSink is tagged: its records carry the tag, so that one log shows who
wrote what. Other interfaces have nothing that could carry a tag.";
    /// A slot of the ensemble that no child is granted.
    SlotUnrouted = 313, "a slot that no child uses",
"The ensemble asks for something in [use] that none of its children is granted.
Whoever fills the slot gives it to nobody; it is probably left over, or a grant
of a child is missing:

    [children.ledger.grants]
    log = \"use.log\"";
    /// The program's file is missing.
    ProgramMissing = 401, "the program is missing",
"`exec` names a file that does not exist. Relative paths start from the
manifest's folder; PATH is not searched. While developing, let vat build the
program:

    [program]
    cargo = { package = \"hello\", bin = \"hello\" }";
    /// The program's file cannot be executed.
    ProgramNotExecutable = 402, "the program cannot be executed",
"`exec` names something that cannot be executed: a directory, or a file that
you may not read or execute (chmod +x).";
    /// No Cargo package where the manifest is.
    NoCargoPackage = 403, "no Cargo package here",
"`cargo` names a package to build, but neither the manifest's folder nor one
above it has a Cargo.toml. If the package is elsewhere, name its folder:

    cargo = { package = \"hello\", bin = \"hello\", folder = \"../hello\" }";
    /// A directory to grant is missing.
    DirectoryMissing = 404, "the directory is missing",
"A grant names a directory that does not exist. Create it, or let the launcher
do it:

    notes = { dir = \"./notes\", create = true }";
    /// Something to grant as a directory is none, or is closed to the caller.
    DirectoryUnusable = 405, "not a usable directory",
"A grant names something that is not a directory, or one that you may not read
(or write, when the grant says so) yourself. Nobody can pass on what he does
not have.";
    /// The root directory is granted.
    RootGranted = 406, "the root directory cannot be granted",
"`dir = \"/\"` (or a path that leads there) would grant the whole machine, and
with it every secret of every program. Grant the directory that the program
works in.";
    /// A directory of the kernel is granted.
    KernelGranted = 407, "a directory of the kernel cannot be granted",
"/proc, /sys and /dev are not files but doors into the kernel and into other
processes: whoever writes to them, or reads some of them, is no longer
confined.";
    /// A granted directory holds something that confines or names the program.
    SelfGranted = 408, "the grant covers the program's own fence",
"A directory that the program may write contains its own manifest, its own
executable, or the workspace it is built from: the program could change what
it is granted at the next start. Of several children, none may change what
another one runs either. Or a directory that it may read contains
reference files or the places where vat keeps keys and references: reading
them is having what they name.

Put the program's data into a directory of its own.";
    /// Two slots may write to the same directory.
    TwoWriters = 409, "two writers on one directory",
"Two slots are granted the right to write to the same directory, or to one
inside the other. Each would believe that the files are its own. Grant
separate directories, or only one of them with \"write\".

That two children may write to the same slot of [use] is a warning: their author
may have meant it. Narrow one of them if not:

    [children.gateway.grants]
    store = { from = \"use.store\", rights = [\"read\"] }";
    /// A reference file is missing.
    ReferenceMissing = 410, "the reference file is missing",
"A grant names a reference file that does not exist or cannot be read. `vat up`
writes one for each exposed reference of a program: <name>.cap, in the
directory that --refs says.";
    /// A reference file that others can read.
    ReferenceExposed = 411, "the reference file is readable by others",
"A reference file is a secret: who can read it has what it names. It must be
yours, an ordinary file, and readable and writable by you alone:

    chmod 600 friend.cap

If others may have read it already, ask whoever made the reference to revoke
it and to make another.";
    /// A file that is no reference file.
    ReferenceMalformed = 412, "not a reference file",
"A reference file holds one line: one reference, beginning with vat://, exactly
as it was written. This file holds something else, or the reference was
changed or cut off.";
    /// The program is of a kind that cannot be confined.
    ProgramUnsuitable = 413, "the program cannot be confined",
"A confined program can open no file: neither the libraries of a dynamically
linked program nor the interpreter of a script are there where it runs. It is
one statically linked, position-independent executable. For a Cargo package:

    cargo rustc -p hello --bin hello -- -C target-feature=+crt-static

or name the package in the manifest, and vat builds it so:

    [program]
    cargo = { package = \"hello\", bin = \"hello\" }

A program with code that is writable, or with an executable stack, is refused
too: it would be easier to take over.";
    /// A grant that leads to the ensemble's own sockets.
    OwnSocket = 414, "a grant that leads back to the launcher",
"A Network grant names a socket of this very ensemble: the launcher's own, or
one at which an exposed reference is offered to local programs. They trust
whoever may open them, and the launcher dials in your name; it refuses to dial
itself in any case. The program needs no network to reach what it exposes.";
}

impl Code {
    /// The code with that text: `V0103`, in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.to_string().eq_ignore_ascii_case(text))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("V{:04}", self.number()))
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_their_text() {
        assert_eq!(Code::UnknownKey.to_string(), "V0103");
        assert_eq!(Code::parse("v0103"), Some(Code::UnknownKey));
        assert_eq!(Code::parse("V103"), None);
        assert!(Code::ALL.is_sorted());
    }

    #[test]
    fn every_code_is_explained_at_length() {
        for code in Code::ALL {
            assert!(code.explanation().len() > 60, "{code} needs more words");
            assert!(
                code.explanation().lines().all(|line| !line.ends_with(' ')),
                "{code}"
            );
            assert!(!code.title().ends_with('.'), "{code}");
        }
    }
}
