"""Settings: what is in force, where it comes from, and the sentence that a wrong one is answered with."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway import broker
from gateway.cli import main
from gateway.settings import LONGEST_SOCKET_PATH, SETTINGS, Settings, SettingsError, load, masked


@pytest.fixture(autouse=True)
def _directory_without_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, content: str) -> dict[str, str]:
    """The environment that names a file of this content."""
    path = tmp_path / "here.toml"
    path.write_text(content)
    return {"GATEWAY_CONFIG": str(path)}


def test_without_file_and_environment_every_setting_has_its_default(tmp_path: Path) -> None:
    settings = load({})
    assert settings == Settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/var/gateway.db"
    assert settings.redis_url == f"unix://{tmp_path}/var/broker.sock"
    assert settings.endpoint == "http://127.0.0.1:8080/fhir/$process-message"
    assert set(settings.origin.values()) == {"default"}


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    environ = written(tmp_path, "port = 9000\nweb_threads = 8\n") | {"GATEWAY_PORT": "9001"}
    settings = load(environ)
    assert (settings.port, settings.web_threads, settings.web_processes) == (9001, 8, 2)
    assert settings.origin["port"] == "environment GATEWAY_PORT"
    assert settings.origin["web_threads"] == f"file {tmp_path}/here.toml"
    assert settings.origin["web_processes"] == "default"


def test_the_file_in_the_working_directory_is_read_when_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "gateway.toml").write_text('name = "here"')
    assert load({}).name == "here"


def test_lists_and_tables_are_toml_values_in_the_environment() -> None:
    environ = {"GATEWAY_RETRY_SCHEDULE": "[1, 2.5]", "GATEWAY_QUEUES": '{ "new-order" = "orders", x = "orders" }'}
    settings = load(environ)
    assert settings.retry_schedule == (1.0, 2.5)
    assert settings.queues == {"new-order": "orders", "x": "orders"}
    assert settings.queue_names == ("messages", "orders")


def test_levels_are_given_for_everybody_and_for_a_sender(tmp_path: Path) -> None:
    written_levels = '[check_levels]\n"bdl-7" = "warn"\n[check_levels_of."https://a.example/fhir"]\n"*" = "inform"\n'
    settings = load(written(tmp_path, written_levels))
    assert settings.check_levels == {"bdl-7": "warn"}
    assert settings.check_levels_of == {"https://a.example/fhir": {"*": "inform"}}


def test_what_follows_from_another_setting_follows_its_value() -> None:
    settings = load({"GATEWAY_BASE_URL": "https://gateway.example.org/fhir/"})
    assert settings.base_url == "https://gateway.example.org/fhir"
    assert settings.endpoint == "https://gateway.example.org/fhir/$process-message"
    assert load({"GATEWAY_HOST": "::1", "GATEWAY_PORT": "81"}).base_url == "http://[::1]:81/fhir"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"GATEWAY_PROT": "1"}, "GATEWAY_PROT is no setting of the gateway. Did you mean GATEWAY_PORT?"),
        (
            {"GATEWAY_XYZZY": "1"},
            "GATEWAY_XYZZY is no setting of the gateway. Take it out; `fhir-gateway config` lists",
        ),
        ({"GATEWAY_PORT": "http"}, "GATEWAY_PORT is 'http', but takes a whole number from 1 to 65535."),
        ({"GATEWAY_PORT": "0"}, "GATEWAY_PORT is 0, but takes a whole number from 1 to 65535."),
        ({"GATEWAY_PORT": "80.5"}, "GATEWAY_PORT is 80.5, but takes a whole number"),
        ({"GATEWAY_PORT": "true"}, "takes a whole number"),
        ({"GATEWAY_PORT": ""}, "GATEWAY_PORT is '', but takes a whole number"),
        ({"GATEWAY_REPLY_TIMEOUT": "nan"}, "GATEWAY_REPLY_TIMEOUT is nan, but takes a number from 0.1 to 600."),
        ({"GATEWAY_NAME": " "}, "GATEWAY_NAME is ' ', but takes a text that is not empty."),
        ({"GATEWAY_HANDLERS": "handlers"}, "GATEWAY_HANDLERS is 'handlers', but takes a list of Python packages."),
        ({"GATEWAY_RETRY_SCHEDULE": "[1, -1]"}, "takes a list of seconds (each a number from 0 to 604800)."),
        ({"GATEWAY_RETRY_SCHEDULE": "[]"}, "GATEWAY_RETRY_SCHEDULE is [], but takes a list of seconds."),
        ({"GATEWAY_QUEUES": '{ a = "b c" }'}, "a queue's name has letters, digits, - and _ (see a)."),
        ({"GATEWAY_CHECK_LEVELS": "strict"}, 'takes a table of rule and level, like { "dom-6" = "ignore" }.'),
        ({"GATEWAY_CHECK_LEVELS": '{ dom6 = "warn" }'}, "; there is no rule dom6 (did you mean dom-6?)."),
        (
            {"GATEWAY_CHECK_LEVELS": '{ "dom-6" = "off" }'},
            "; a level is one of refuse, warn, inform, ignore (see dom-6).",
        ),
        ({"GATEWAY_CHECK_LEVELS": '{ type = "warn" }'}, "; the gateway relies on type, whose level is always refuse."),
        ({"GATEWAY_CHECK_LEVELS_OF": '{ "dom-6" = "warn" }'}, "takes a table of sender and levels, like { "),
        (
            {"GATEWAY_CHECK_LEVELS_OF": '{ "urn:a" = { narative = "warn" } }'},
            "rule narative (did you mean narrative?).",
        ),
        ({"GATEWAY_LOG_LEVEL": "LOUD"}, "GATEWAY_LOG_LEVEL is 'LOUD', but takes one of DEBUG, INFO, WARNING, ERROR."),
        ({"GATEWAY_DATABASE_URL": "mysql://me:secret@db/x"}, "is 'mysql://me:***@db/x', but takes sqlite:///path"),
        ({"GATEWAY_REDIS_URL": "localhost:6379"}, "takes redis://host:6379/0, rediss://… or unix:///path/to/socket."),
        ({"GATEWAY_PROXY_NETWORKS": '["0.0.0.0/0"]'}, "takes a list of networks"),
        ({"GATEWAY_PROXY_NETWORKS": '["::/0"]'}, "takes a list of networks"),
        ({"GATEWAY_BASE_URL": "gateway.example.org"}, "takes an address that begins with http:// or https://."),
        (
            {"GATEWAY_CONFIG": "nowhere.toml"},
            "The settings file nowhere.toml cannot be read: No such file or directory.",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_answered_with_what_to_write(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(environ)
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    environ = written(tmp_path, 'port = "8080"\nwebthreads = 1\n[web]\nprocesses = 2\n') | {"GATEWAY_HOST": ""}
    with pytest.raises(SettingsError) as refused:
        load(environ)
    assert [sentence.partition(" is ")[0] for sentence in refused.value.sentences] == [
        f"port in {tmp_path}/here.toml",
        f"webthreads in {tmp_path}/here.toml",
        f"web in {tmp_path}/here.toml",
        "GATEWAY_HOST",
    ]
    assert "Did you mean web_threads?" in refused.value.sentences[1]


@pytest.mark.parametrize("content", ["port: 8080", "port = ", 'name = "a'])
def test_a_file_that_is_no_toml_is_answered_with_the_place(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match=r"here\.toml is not TOML: .*\(at .*\)\. Write .*: port = 8080"):
        load(written(tmp_path, content))


def test_a_file_that_is_no_text_or_no_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, said in (("bytes.toml", "it is not UTF-8 text"), (".", "Is a directory")):
        with pytest.raises(SettingsError, match=said):
            load({"GATEWAY_CONFIG": str(tmp_path / name)})


@pytest.mark.parametrize(
    ("given", "redis_url", "broker_url"),
    [
        ("redis://broker:6379/3", "redis://broker:6379/3", "redis://broker:6379/3"),
        ("unix:///run/b.sock", "unix:///run/b.sock", "redis+socket:///run/b.sock"),
        ("unix:///run/b.sock?db=3", "unix:///run/b.sock?db=3", "redis+socket:///run/b.sock?virtual_host=3"),
        ("redis+socket:///b.sock?virtual_host=3", "unix:///b.sock?db=3", "redis+socket:///b.sock?virtual_host=3"),
    ],
)
def test_the_broker_has_an_address_for_celery_and_one_for_redis(given: str, redis_url: str, broker_url: str) -> None:
    settings = load({"GATEWAY_REDIS_URL": given})
    assert (settings.redis_url, settings.broker_url) == (redis_url, broker_url)
    assert not settings.broker_embedded


@pytest.mark.parametrize("given", ["postgres://me@db/x", "postgresql://me@db/x", "postgresql+psycopg://me@db/x"])
def test_every_way_to_write_postgresql_means_psycopg(given: str) -> None:
    assert load({"GATEWAY_DATABASE_URL": given}).database_url == "postgresql+psycopg://me@db/x"


def test_a_long_directory_gets_a_short_socket_that_is_the_users_alone(tmp_path: Path) -> None:
    long = Settings(var=tmp_path / ("x" * 120))
    assert len(str(long.broker_socket)) <= LONGEST_SOCKET_PATH
    assert long.broker_socket != Settings(var=tmp_path / ("y" * 120)).broker_socket
    assert long.broker_embedded
    broker.prepare(long)
    assert long.broker_socket.parent.stat().st_mode & 0o777 == 0o700
    long.broker_socket.parent.chmod(0o755)
    with pytest.raises(SettingsError, match="not this user's alone"):
        broker.prepare(long)
    long.broker_socket.parent.rmdir()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.2", False), ("gateway.example.org", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Settings(host=host).loopback is loopback


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s:e/c@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://me:se@cret@db/x", "postgresql://me:***@db/x"),
        ("redis://:secret@broker:6379/0", "redis://:***@broker:6379/0"),
        ("postgresql://db/x?user=me&password=secret", "postgresql://db/x?user=me&password=***"),
        ("unix:///run/b.sock?db=3", "unix:///run/b.sock?db=3"),
        ("sqlite:////var/gateway.db", "sqlite:////var/gateway.db"),
    ],
)
def test_passwords_are_starred_out(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_settings_show_no_password_where_they_are_printed() -> None:
    in_force = Settings(database_url="postgresql://me:secret@db/x", redis_url="redis://:secret@broker:6379/0")
    assert "secret@" not in repr(in_force)


def test_config_prints_every_setting_with_its_origin_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://me:secret@db/x")
    monkeypatch.setenv("GATEWAY_QUEUES", '{ "new-order" = "orders" }')
    printed = CliRunner().invoke(main, ["config"]).output
    assert [line.partition(" = ")[0] for line in printed.splitlines()] == list(SETTINGS)
    assert 'database_url = "postgresql+psycopg://me:***@db/x"  # environment GATEWAY_DATABASE_URL' in printed
    assert 'queues = { "new-order" = "orders" }  # environment GATEWAY_QUEUES' in printed
    assert "port = 8080  # default" in printed


def test_what_config_prints_can_be_used_as_the_file(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["config"]).output
    assert load(written(tmp_path, printed)) == Settings()


def test_a_wrong_setting_stops_a_command_with_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "none")
    result = CliRunner().invoke(main, ["config"])
    assert result.exit_code == 1
    assert result.stderr == "Error: GATEWAY_PORT is 'none', but takes a whole number from 1 to 65535.\n"


def test_the_brokers_socket_has_a_short_path_even_where_temporary_files_have_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert len(str(Settings(var=long / "var").broker_socket)) <= LONGEST_SOCKET_PATH


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"GATEWAY_TLS_KEY": "server.key"}, "tls_certificate and tls_key go together"),
        ({"GATEWAY_TLS_CLIENT_AUTHORITY": "ca.pem"}, "proxy_certificate_header"),
        ({"GATEWAY_PROXY_NETWORKS": '["10.0.0.0/8"]'}, "proxy_certificate_header go together"),
        ({"GATEWAY_PROXY_NETWORKS": '["10.0.0.1/8"]'}, "a list of networks"),
        ({"GATEWAY_PROXY_CERTIFICATE_HEADER": "X Cert"}, "the name of a header"),
        ({"GATEWAY_TOKEN_ISSUERS": '{ "https://id.example" = { audience = "a" } }'}, "jwks_url"),
        ({"GATEWAY_AUTHENTICATION": "none"}, "one of sandbox, required"),
    ],
)
def test_what_would_let_somebody_in_by_mistake_stops_the_start(environ: dict[str, str], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        load(environ)


def test_a_sandbox_is_for_this_machine() -> None:
    assert load({}).is_sandbox
    assert not load({"GATEWAY_HOST": "10.0.0.1"}).is_sandbox
    environ = {"GATEWAY_HOST": "10.0.0.1", "GATEWAY_AUTHENTICATION": "sandbox"}
    answer = CliRunner(env=environ).invoke(main, ["web"])
    assert (answer.exit_code, "A sandbox believes everybody" in answer.output) == (1, True)
