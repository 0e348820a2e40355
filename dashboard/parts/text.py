"""Every word of the console, Chinese first and English beside it."""

from collections.abc import Mapping
from typing import Literal

from dashboard.parts.text_back_office import BACK_OFFICE_TEXT

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

TEXT: Mapping[str, tuple[str, str]] = {
    # Everywhere
    "nav.monitoring": ("实时监控", "Monitoring"),
    "nav.reconciliation": ("资金对账", "Reconciliation"),
    "nav.review": ("风险审核", "Review"),
    "nav.features": ("风控特征", "Features"),
    "language": ("语言", "Language"),
    "actor": ("操作人", "Acting as"),
    "actor.hint": ("姓名, 记入审计", "Your name, for the audit trail"),
    "actor.needed": (
        "请先在左侧填写操作人姓名, 所有决定都会留名审计。",
        "Enter your name on the left first: every decision is audited under a name.",
    ),
    "empty.database": ("还没有数据库", "No database yet"),
    "empty.database.how": (
        "网关还没有在 `{path}` 运行过。启动 `make demo` 或 `yumen serve`, 本页会自动出现数据。",
        (
            "The gateway has never run on `{path}`. Start `make demo` or `yumen serve`; "
            "this page fills by itself."
        ),
    ),
    "error.database": ("数据库暂时无法读取: {why}", "The database can't be read now: {why}"),
    "error.stale": (
        "下面是 {age} 前的最后一次有效数据。",
        "Below is the last good data, {age} old.",
    ),
    "error.api": (
        "网关管理接口不可用, 操作已停用; 下方数据直接读自数据库。",
        (
            "The gateway's admin API does not answer, so actions are off; "
            "the data below is read from the database."
        ),
    ),
    "error.conflict": (
        "已被他人处理, 页面已刷新: {message}",
        "Somebody else was faster, this page is refreshed: {message}",
    ),
    "error.refused": ("网关拒绝了操作: {message}", "The gateway refused: {message}"),
    "refresh": ("刷新", "Refresh"),
    # Words of the business
    "outcome.APPROVE": ("通过", "Approve"),
    "outcome.CHALLENGE": ("验证", "Challenge"),
    "outcome.REVIEW": ("人工审核", "Review"),
    "outcome.DECLINE": ("拒绝", "Decline"),
    "status.CREATED": ("已创建", "Created"),
    "status.WAIT_PAY": ("待支付", "Waiting"),
    "status.SUCCESS": ("已支付", "Paid"),
    "status.REFUND": ("已退款", "Refunded"),
    "status.CLOSED": ("已关闭", "Closed"),
    "status.HELD": ("挂起待审", "Held"),
    "merchant.REGISTERED": ("填写中", "Registered"),
    "merchant.PENDING": ("待审核", "Pending"),
    "merchant.INCOMPLETE": ("待补件", "More needed"),
    "merchant.APPROVED": ("待签约", "To agree"),
    "merchant.CLOSED": ("已关闭", "Closed"),
    "merchant.ACTIVE": ("正常", "Active"),
    "merchant.REJECTED": ("已拒绝", "Rejected"),
    "merchant.FROZEN": ("已冻结", "Frozen"),
    "col.time": ("时间", "Time"),
    "col.trade_no": ("平台交易号", "Trade no."),
    "col.merchant": ("商户", "Merchant"),
    "col.amount": ("金额", "Amount"),
    "col.pay_type": ("支付方式", "Pay type"),
    "col.outcome": ("风控结论", "Outcome"),
    "col.score": ("欺诈概率", "Fraud score"),
    "col.reasons": ("原因", "Reasons"),
    "col.status": ("订单状态", "Order"),
    "col.elapsed": ("耗时", "Took"),
    "col.channel": ("渠道", "Channel"),
    "col.day": ("账单日", "Bill day"),
    "col.created": ("创建时间", "Created"),
    # Monitoring
    "window": ("时间窗", "Window"),
    "window.minutes": ("{n} 分钟", "{n} min"),
    "window.hours": ("{n} 小时", "{n} h"),
    "live": ("实时 · {at} ({zone})", "Live · {at} ({zone})"),
    "live.idle": ("最近 {age} 没有交易", "No traffic for {age}"),
    "live.past": (
        "当前时间窗内没有交易, 显示截至 {at} 的最后一段历史。",
        "No traffic in this window; showing the last traffic, up to {at}.",
    ),
    "live.none": ("还没有任何交易", "No transactions yet"),
    "live.none.how": (
        "商户的第一笔下单会出现在这里。运行 `make demo` 可以看到合成流量。",
        "A merchant's first order will appear here. `make demo` sends synthetic traffic.",
    ),
    "model": ("模型 {version}", "Model {version}"),
    "model.none": ("仅规则 (无模型)", "Rules only (no model)"),
    "alerts": ("近一小时告警 {n} 次", "{n} alerts within the hour"),
    "alerts.line": (
        "**{kind}** × {n}, 最近 {at}: {detail}",
        "**{kind}** × {n}, last at {at}: {detail}",
    ),
    "degraded": ("降级 {n}", "Degraded {n}"),
    "degraded.help": (
        "时间窗内风控未按完整路径决策的次数; 每次都按配置的策略处理并留痕。",
        (
            "Decisions in this window not made by the full path; each followed the configured "
            "policy and says so."
        ),
    ),
    "inbox": ("待入账事件 {n}", "Events to place {n}"),
    "inbox.help": (
        "支付结果与标签中尚未写入风险事件日志的数量。",
        "Outcomes and labels that have no place in the risk log yet.",
    ),
    "kpi.traffic": ("交易量 (笔/分钟)", "Traffic (per minute)"),
    "kpi.traffic.help": ("上一个完整分钟的下单笔数。", "Orders in the last full minute."),
    "kpi.approval": ("风控通过率", "Approval rate"),
    "kpi.approval.help": (
        "时间窗内结论为“通过”的比例。",
        "Share of decisions in the window that were Approve.",
    ),
    "kpi.success": ("支付成功率", "Payment success"),
    "kpi.success.help": (
        "时间窗内已开放支付的订单中, 已支付的比例 (等待中的计入分母)。",
        "Paid among the orders of the window that a payer could pay, those still waiting included.",
    ),
    "kpi.amount": ("支付金额", "Amount paid"),
    "kpi.amount.help": (
        "时间窗内创建的订单已支付的金额, 主要币种。",
        "Paid on the orders created in the window, in the main currency.",
    ),
    "kpi.latency": ("风控耗时 p50", "Risk check p50"),
    "kpi.latency.delta": ("p99 {value}", "p99 {value}"),
    "kpi.latency.help": (
        "单笔风控评估的耗时; 由对数直方图读出, 误差不超过 4.5%。",
        "Time of one risk assessment, read from a logarithmic histogram: at most 4.5 % high.",
    ),
    "kpi.backlog": ("待送达通知", "Notifications waiting"),
    "kpi.backlog.delta": ("逾期 {age}", "overdue {age}"),
    "kpi.backlog.ok": ("无逾期", "none overdue"),
    "kpi.backlog.help": (
        "商户尚未确认的异步通知; 按规定的间隔重试, 最长 24 小时。",
        "Notifications that merchants have not acknowledged; retried on schedule up to 24 h.",
    ),
    "chart.traffic": ("每分钟交易与风控结论", "Transactions per minute, by outcome"),
    "chart.score": ("欺诈概率分布 (对数)", "Fraud score distribution (log scale)"),
    "chart.latency": ("风控耗时 (µs)", "Risk check time (µs)"),
    "chart.rates": ("通过率与成功率 (%)", "Approval and success (%)"),
    "latest": ("最新决策", "Latest decisions"),
    "latest.filter": ("只看", "Only"),
    "latest.empty": ("没有符合条件的决策", "No such decision"),
}
ALL_TEXT: Mapping[str, tuple[str, str]] = {**TEXT, **BACK_OFFICE_TEXT}


class Words:
    """The words of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._place = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its placeholders filled.

        Raises:
            KeyError: if there is no such text: a page names only texts that exist.
        """
        return ALL_TEXT[key][self._place].format(**values)

    def known(self, prefix: str, word: str) -> str:
        """Return the text of a word from the data, or the word itself if it is new to us."""
        found = ALL_TEXT.get(f"{prefix}.{word}")
        return word if found is None else found[self._place]


def language_of(value: object) -> Language:
    """Return the language asked for; Chinese unless it is English.

    Examples:
        >>> language_of("en"), language_of(None)
        ('en', 'zh')
    """
    return "en" if value == "en" else "zh"
