"""What a command refuses on purpose: shown as one line, without a stack trace, exit code 2."""


class Refused(Exception):
    """The command can't do what was asked; the message says why and nothing was half done."""
