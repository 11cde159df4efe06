"""A program of many commands: `python -m PACKAGE COMMAND …`."""

import argparse
import importlib
import importlib.util
import io
import sys
from dataclasses import dataclass, field
from types import ModuleType

from training import __version__
from training.errors import LibraryError
from training.exit_status import exit_status


@dataclass(frozen=True)
class Program:
    """Commands, each in a module of the package's folder `commands`.

    Such a module has `add_arguments(parser)` and `run(arguments)`, which returns the exit status,
    None if all went well.

    Attributes:
        package: name of the package.
        description: what the program is, for its help.
        commands: what each does, by its name.
        installation: how people get the libraries of the commands, as half a sentence.
        modules: of the commands whose module is not called as they are.
        errors: what commands raise on purpose, besides the errors of `training` and `icmformer`.
    """

    package: str
    description: str
    commands: dict[str, str]
    installation: str
    modules: dict[str, str] = field(default_factory=dict)
    errors: tuple[type[Exception], ...] = ()

    def main(self) -> int:
        """Run the command that is asked for; return the exit status."""
        # A terminal of another encoding shows ? for what it has no letter for, as in a title.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        return exit_status(self._run, *self.errors)

    def module(self, command: str) -> ModuleType:
        """Import the module of a command, which may take seconds.

        Raises:
            LibraryError: if a library that it needs is not installed.
        """
        name = self.modules.get(command, command.replace("-", "_"))
        try:
            return importlib.import_module(f"{self.package}.commands.{name}")
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if not _is_not_installed(library):
                raise
            raise LibraryError(f"{library} is not installed: {self.installation}") from error

    def _run(self) -> int:
        program = f"python -m {self.package}"
        parser = argparse.ArgumentParser(prog=program, description=self.description)
        version = f"{self.package} {__version__}"
        parser.add_argument("--version", action="version", version=version)
        subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, summary in self.commands.items():
            # Only the module of the command that runs is imported: some are slow to import.
            subparser = subparsers.add_parser(name, help=summary, description=summary)
            if name in sys.argv[1:2]:
                self.module(name).add_arguments(subparser)
        arguments = parser.parse_args()
        return self.module(arguments.command).run(arguments) or 0


def _is_not_installed(library: str) -> bool:
    """Whether all of it is missing: not a part that it lacks, such as a module of our own."""
    if not library or library in sys.stdlib_module_names:
        return False
    return importlib.util.find_spec(library) is None
