"""The only test doubles: real classes that behave, not mocks that agree."""

from gateway.channels.base import Channel, ChannelReply, Outcome, Trade
from gateway.channels.sandbox import SandboxChannel


class PaidInTheLastSecond:
    """A channel that was paid while its callback is still on the way."""

    def __init__(self, real: Channel, amount_minor: int, currency: str) -> None:
        self._real = real
        self._amount_minor = amount_minor
        self._currency = currency
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        self.asked.append("close")
        return ChannelReply(outcome=Outcome.PAID, trade_no=trade.trade_no)

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        self.asked.append("query")
        return ChannelReply(
            outcome=Outcome.PAID,
            trade_no=trade.trade_no,
            amount_minor=self._amount_minor,
            currency=self._currency,
        )


class SilentChannel(SandboxChannel):
    """A channel that gives no answer to a closing, as a broken network would."""

    closings = 0

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        self.closings += 1
        return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade.trade_no)


def still_ns() -> int:
    """A monotonic clock that stands still: no deadline passes, however busy the machine is."""
    return 0
