"""Tables of applications and their papers, of operators, and of acts that wait for a second one."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from gateway.store.schema import metadata

applications = Table(
    "applications",
    metadata,
    # Where it stands is the merchant's own status and version.
    Column("merchant_id", Text, primary_key=True),
    Column("sandbox_merchant_id", Text, nullable=False),
    Column("token_sha256", LargeBinary, nullable=False),
    Column("algorithm", Text, nullable=False),  # Of the API key it will be given.
    Column("contact_sealed", LargeBinary, nullable=False),
    Column("details_sealed", LargeBinary, nullable=False),  # Empty until they are given.
    Column("details_masked", Text, nullable=False, server_default="{}"),  # JSON, fit to be seen.
    Column("message", Text, nullable=False, server_default=""),  # What the reviewer last said.
    Column("agreement_version", Text, nullable=False, server_default=""),
    Column("agreed_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("submitted_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at_us", BigInteger, nullable=False),
)

materials = Table(
    "materials",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("material_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # gateway.domain.onboarding.MaterialKind
    Column("content_type", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("sha256", Text, nullable=False),  # Of the plain bytes.
    Column("sealed", LargeBinary, nullable=False),
    Column("uploaded_at_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("merchant_id", "material_id"),
)

operators = Table(
    "operators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # gateway.domain.operator.Role
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("created_by", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger, nullable=False, server_default=text("0")),
)

approvals = Table(
    "approvals",
    metadata,
    # Acts that one person asked for and another must agree to.
    Column("approval_id", Text, primary_key=True),
    Column("act", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("request_sealed", LargeBinary, nullable=False),  # What will be done, JSON.
    Column("shown", Text, nullable=False),  # The same, fit to be seen.
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("status", Text, nullable=False),  # WAITING | DONE | REFUSED
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("decided_at_us", BigInteger, nullable=False, server_default=text("0")),
    # The second line behind the check in the code: nobody agrees with himself.
    CheckConstraint("decided_by <> requested_by", name="four_eyes"),
)
