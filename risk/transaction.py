"""What the engine is told of a payment. Every field is optional but id, merchant, amount and time.

The groups and names follow EMV 3-D Secure, Adyen, Stripe and ISO 20022 where these have a name
(the payment industry's own words spare integrators a dictionary). A field that is not sent is
None or empty and stays *missing*: it never turns into a zero.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Who pays. `account_id` is the merchant's or wallet's account; hashes are opaque strings.

    `contact_changed_at_ms` is when telephone, e-mail or address last changed (3DS chAccDate),
    `password_changed_at_ms` is 3DS chAccPwChange, `purchases_6m` 3DS nbPurchaseAccount;
    `phone_country` is the country of the telephone number.
    """

    account_id: str | None = None
    created_at_ms: int | None = None
    email_hash: str | None = None
    phone_hash: str | None = None
    name_hash: str | None = None
    country: str | None = None
    kyc_level: int | None = None
    guest: bool | None = None
    password_changed_at_ms: int | None = None
    login_failures_1h: int | None = None
    contact_changed_at_ms: int | None = None
    otp_failures_1h: int | None = None
    phone_country: str | None = None
    purchases_6m: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What is paid with; `token` stands for the card or account number, which never enters."""

    token: str | None = None
    bin: str | None = None
    issuer_country: str | None = None
    funding: str | None = None  # debit | credit | prepaid | wallet
    added_at_ms: int | None = None
    network_token: bool | None = None
    cvc_ok: bool | None = None
    three_ds: str | None = None  # Transaction status: Y, A, N, U, C, R.
    avs: str | None = None  # Address check: match | partial | mismatch | unavailable.


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """Who is paid behind the merchant: a terminal, a shop, a seller, another account."""

    account_id: str | None = None
    country: str | None = None
    first_paid_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The browser or app as the network sees it (3DS browserIP, browserUserAgent, …).

    `tz_offset_min` is minutes east of UTC; `language` a tag or an Accept-Language header;
    `platform` and `mobile` are the client hints Sec-CH-UA-Platform and Sec-CH-UA-Mobile; `ja4`
    is the fingerprint of its TLS greeting; `clock_at_ms` is what its own clock said when it sent
    this; `color_depth` is in bits.
    """

    ip: str | None = None
    ip_country: str | None = None
    user_agent: str | None = None
    language: str | None = None
    tz_offset_min: int | None = None
    screen: str | None = None
    ja4: str | None = None
    platform: str | None = None
    mobile: bool | None = None
    color_depth: int | None = None
    javascript: bool | None = None
    clock_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The device as the merchant's SDK sees it.

    `risk_labels` may hold: emulator, vm, rooted, hooked, debugger, cloned_app, repackaged,
    mock_location, vpn, proxy, screen_share, remote_control, clock_skew, factory_reset,
    automation, headless, tor, overlay, accessibility_abuse, sim_changed, jailbroken (the same as
    rooted). `attested_at_ms` is when the attestation was made: a token is good for two minutes.
    `attestation_nonce` is what it was made for: the merchant's order number or its SHA-256 in hex,
    so that a token harvested elsewhere is noticed.
    """

    device_id: str | None = None
    os: str | None = None
    model: str | None = None
    fp_hash: str | None = None
    attestation: str | None = None  # none | failed | basic | strong
    attested_at_ms: int | None = None
    attestation_nonce: str | None = None
    risk_labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Geo:
    """Where the payer is. Degrees (WGS 84) and metres; `place` is any stable name of a place."""

    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    source: str | None = None  # gps | wifi | cell | ip
    country: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """Summaries of how the payer typed and moved; never the keystrokes. Times in ms.

    `pointer_turns` counts changes of direction, `still_clicks` clicks without a movement before.
    """

    form_ms: int | None = None
    first_input_ms: int | None = None
    key_dwell_ms: int | None = None
    key_flight_ms: int | None = None
    key_flight_iqr_ms: int | None = None
    key_dwell_iqr_ms: int | None = None
    pasted: tuple[str, ...] | None = None  # card_number, name, otp, password
    pointer_straightness: float | None = None  # Path by chord, 0 to 1.
    pointer_turns: int | None = None
    still_clicks: int | None = None
    touch_pressure_var: float | None = None
    motion_energy: float | None = None
    on_call: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The visit that led here; `page_kinds` counts distinct kinds of page among `pages`."""

    id: str | None = None
    login_at_ms: int | None = None
    auth_method: str | None = None
    pages: int | None = None
    page_kinds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """What is bought; `ship_address_used_at_ms` is its first use (3DS shipAddressUsage)."""

    items: int | None = None
    mcc: str | None = None
    digital: bool | None = None
    ship_addr_hash: str | None = None
    bill_addr_hash: str | None = None
    ship_country: str | None = None
    bill_country: str | None = None
    ship_address_used_at_ms: int | None = None
    coupon_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """A face check, if there was one; scores 0 (attack) to 1 (genuine).

    PAD as in ISO/IEC 30107-3, IAD (injection) as in CEN/TS 18099. `camera_label` is the camera's
    name as the system gives it, `frame_jitter_us` how much the time between frames varies.
    """

    pad_score: float | None = None
    iad_score: float | None = None
    virtual_camera: bool | None = None
    camera_label: str | None = None
    frame_jitter_us: int | None = None
    vendor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskContext:
    """The `risk_context` of a create request: what the merchant knows about the payment.

    A group that was not sent is one shared, frozen, empty instance: making ten of them anew for
    every payment costs more than reading the rest of the request.
    """

    payer: Payer = Payer()
    instrument: Instrument = Instrument()
    payee: Payee = Payee()
    client: Client = Client()
    device: Device = Device()
    geo: Geo = Geo()
    behavior: Behavior = Behavior()
    session: Session = Session()
    order: Basket = Basket()
    liveness: Liveness = Liveness()


EMPTY_CONTEXT = RiskContext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One payment to assess.

    Attributes:
        event_id: The gateway's trade number: unique, the key of everything stored about it.
        merchant_id: Who sells.
        amount_minor: Minor units of `currency`, positive.
        currency: ISO 4217 code.
        pay_type: Payment system asked for.
        context: What else is known.
        order_no: The merchant's own number of the order, if there is one.
    """

    event_id: str
    merchant_id: str
    amount_minor: int
    currency: str
    pay_type: str
    context: RiskContext = EMPTY_CONTEXT
    order_no: str = ""
