"""Who may call, now: what a change of the settings file and SIGHUP can change without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_service.identity import Caller
    from agent_service.settings import AgentSettings
    from agent_service.tls import ServerTls


class Access:
    """Allow-lists of client names and Host headers, and the CAs of now.

    ``tls`` is ``None`` where there is no network (in-process tests).
    """

    def __init__(self, settings: AgentSettings, tls: ServerTls | None = None) -> None:
        self._tls = tls
        self._allow(settings)

    def reload(self, settings: AgentSettings) -> None:
        """Take TLS files and allow-lists from new settings; on an error everything stays as it was.

        Raises:
            TlsError: a certificate, key or CA file cannot be used.
        """
        if self._tls is not None:
            self._tls.reload(settings.tls)
        self._allow(settings)

    def _allow(self, settings: AgentSettings) -> None:
        self._clients = frozenset(settings.tls.allowed_clients)
        self._readers = frozenset(settings.tls.readers)
        self._hosts = frozenset(name.lower() for name in settings.allowed_hosts)

    def allows_client(self, caller: Caller) -> bool:
        """Whether the name on the certificate is on a list."""
        return caller.name in self._clients or caller.name in self._readers

    def may_change(self, caller: Caller) -> bool:
        """Whether a client that is allowed may do more than look."""
        return caller.name in self._clients

    def allows_host(self, host: str) -> bool:
        """Whether a Host header, without port, names this agent."""
        return host.lower() in self._hosts

    def is_current(self, caller: Caller) -> bool:
        """Whether the certificate was verified by the CAs of now; an older connection is to be made again."""
        return self._tls is None or caller.trust is None or self._tls.trusts(caller.trust)
