"""What a person sees while a run goes on, and after."""

from tester.console.modes import Mode, RunConsole, choose_mode, make_console

__all__ = ["Mode", "RunConsole", "choose_mode", "make_console"]
