"""Does what a command line of ``nft`` says: by the library that the program itself is made of, or by the program.

The library (libnftables, which package nftables always brings) saves a process a call. Steps hold command lines all the
same: they are what a person reads, can repeat, and what an agent without the library runs.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Final

from agent_service import commands
from agent_service.commands import TIMEOUT_SECONDS, Completed
from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

NFT: Final = "nft"
_SONAME: Final = "libnftables.so.1"
_JSON: Final = 1 << 4  # NFT_CTX_OUTPUT_JSON of nftables/libnftables.h


async def run(argv: Sequence[str], *, stdin: str = "") -> Completed:
    """Run to the end and return how it ended; a failure is for the caller to judge.

    Raises:
        UnavailableError: there is neither library nor program, or it took too long.
    """
    library = _library()
    if library is None:
        return await commands.run(tuple(argv), stdin=stdin)
    # A thread of its own: where a disk hangs, whatever looks at it holds up the threads that all others share, and no
    # undo. And a new one each time: one that is kept would go on in the network namespace that it began in.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nft")
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(thread, library.run, tuple(argv), stdin)
    except TimeoutError as error:
        raise UnavailableError(f"{' '.join(argv[:3])} took more than {TIMEOUT_SECONDS:g} s") from error
    finally:
        thread.shutdown(wait=False)


async def check(argv: Sequence[str], *, stdin: str = "") -> Completed:
    """Run, and raise ``UnavailableError`` with what was said when it fails."""
    completed = await run(argv, stdin=stdin)
    if completed.code != 0:
        raise UnavailableError(f"{' '.join(argv[:3])}: {completed.complaint}")
    return completed


class Library:
    """libnftables. Every call has a context of its own, as every run of the program has."""

    def __init__(self, name: str = _SONAME) -> None:
        """Raise ``OSError`` where there is no such library."""
        self._lib = ctypes.CDLL(name)
        self._lock = threading.Lock()
        """The library does not say that it may be used by two threads at once."""
        self._lib.nft_ctx_new.restype = ctypes.c_void_p
        self._lib.nft_ctx_new.argtypes = (ctypes.c_uint32,)
        self._lib.nft_ctx_free.argtypes = (ctypes.c_void_p,)
        self._lib.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        self._lib.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
        self._lib.nft_ctx_set_dry_run.argtypes = (ctypes.c_void_p, ctypes.c_bool)
        for what in ("output", "error"):
            getattr(self._lib, f"nft_ctx_buffer_{what}").argtypes = (ctypes.c_void_p,)
            reader = getattr(self._lib, f"nft_ctx_get_{what}_buffer")
            reader.argtypes, reader.restype = (ctypes.c_void_p,), ctypes.c_char_p

    def run(self, argv: tuple[str, ...], stdin: str) -> Completed:
        """The same as the program would do."""
        words, flags, dry = list(argv[1:]), 0, False
        while words and words[0].startswith("-") and words[0] != "-f":
            match words.pop(0):
                case "-j":
                    flags |= _JSON
                case "--check":
                    dry = True
                case option:
                    raise ValueError(f"nft's option {option} is not used by any fault")
        text = stdin if words[:1] == ["-f"] else " ".join(words)
        with self._lock:
            return self._in_context(argv, text, flags, dry=dry)

    def _in_context(self, argv: tuple[str, ...], text: str, flags: int, *, dry: bool) -> Completed:
        context = self._lib.nft_ctx_new(0)
        if not context:
            raise UnavailableError("libnftables does not work here: it makes no context")
        try:
            self._lib.nft_ctx_buffer_output(context)
            self._lib.nft_ctx_buffer_error(context)
            self._lib.nft_ctx_output_set_flags(context, flags)
            self._lib.nft_ctx_set_dry_run(context, dry)
            code = self._lib.nft_run_cmd_from_buffer(context, text.encode())
            output = self._lib.nft_ctx_get_output_buffer(context).decode(errors="replace")
            error = self._lib.nft_ctx_get_error_buffer(context).decode(errors="replace")
        finally:
            self._lib.nft_ctx_free(context)
        return Completed(argv, 0 if code == 0 else 1, output, error)


@cache
def _library() -> Library | None:
    try:
        return Library()
    except OSError:
        return None
