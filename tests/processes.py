"""The processes that a test started, Ray's workers among them: other tests may run beside it."""

import psutil


def below(process: psutil.Process, title: str) -> list[psutil.Process]:
    """Those with these words in their command line."""
    return [each for each in process.children(recursive=True) if is_of(each, title)]


def is_of(process: psutil.Process, title: str) -> bool:
    try:
        return title in " ".join(process.cmdline())
    except psutil.Error:
        return False
