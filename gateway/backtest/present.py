"""The set-up that decides now, read from the database and the published bundle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DatabaseError

from gateway.queries.reader import DatabaseUnreadable, open_reader
from gateway.refusal import Refused
from gateway.store import policies
from gateway.store import rules as stored_rules
from gateway.store.database import Database
from gateway.store.raw import raw_of
from gateway.store.subjects import Subjects
from gateway.store.vault import Vault
from models.backtest import BatchModel, Setup, load_model
from risk.policy import PolicyError
from risk.rules.names import NumberOf
from risk.rules.problems import RuleError
from risk.rules.source import Rule
from risk.scorer import BundleRefused, champion_version
from risk.trees import TreesUnavailable

BUNDLE_FOLDER: Final = "bundles"


def present_setup(database: Database, bundle_dir: Path) -> Setup:
    """Return what decides now: live rules and lists, the champion, the live policy.

    Raises:
        ReaderError: the database can't be read.
        Refused: the published model, the live policy or rules can't be used.
    """
    reader = open_reader(database)
    try:
        with reader.connect() as conn:
            policy = policies.live(conn)
            rules = stored_rules.load(conn)
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error
    except (PolicyError, RuleError) as error:
        raise Refused(str(error)) from error
    finally:
        reader.dispose()
    return Setup(rules=rules, model=_champion(bundle_dir), policy=policy)


def _champion(bundle_dir: Path) -> BatchModel | None:
    try:
        version = champion_version(bundle_dir)
        return None if version is None else load_model(bundle_dir, version)
    except (BundleRefused, TreesUnavailable) as error:
        raise Refused(str(error)) from error


def stored_rule(database: Database, name: str) -> Rule:
    """Return the newest version of a stored rule, whatever its state.

    Raises:
        ObjectNotFound: (1009) if there is no such rule.
        ReaderError: the database can't be read.
    """
    reader = open_reader(database)
    try:
        with reader.connect() as conn:
            return stored_rules.versions_of(conn, name)[-1].rule
    except DatabaseError as error:
        raise DatabaseUnreadable(str(error.orig)) from error
    finally:
        reader.dispose()


@contextmanager
def numbers_of(database: Database, vault: Vault) -> Iterator[NumberOf]:
    """Give which number stands for a word while the block runs; a person's is keyed here.

    Somebody whom this installation never met, or was told to forget, has number 0, which is in no
    payment: nothing is written.

    Raises:
        ReaderError: the database can't be read.
    """
    reader = open_reader(database)
    try:
        with reader.connect() as conn:
            yield Subjects(raw_of(conn), vault).number_of
    except database.errors as error:
        raise DatabaseUnreadable(str(error)) from error
    finally:
        reader.dispose()
