# SPDX-License-Identifier: Apache-2.0
"""What the commands share: words, complaints, files, the device."""

import sys
from types import SimpleNamespace

import pytest
import typer

from jopt import console


def test_words_are_between_commas_without_blanks():
    assert console.words(" a, b c ,,d,") == ("a", "b c", "d")
    assert console.words("") == ()


def test_what_is_missing_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "never_installed", None)
    assert console.lacks("jopt race", {"never_installed": "the-package", "typer": "typer"}, "race") == 1
    assert capsys.readouterr().err == "jopt: jopt race needs the-package; pip install 'jopt[race]'\n"
    assert console.lacks("jopt race", {"typer": "typer"}, "race") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "endings", "message"),
    [
        ("p.pdf", (".png",), "--png must name a file that ends in .png, got"),
        ("p.avi", (".gif", ".mp4"), "--png must name a file that ends in .gif or .mp4, got"),
        ("nowhere/p.png", (".png",), "--png must name a file in a directory that exists and can be written, got"),
        (".", (), "--png must name a file in a directory"),
    ],
)
def test_files_that_cannot_be_written_are_refused(tmp_path, name, endings, message):
    with pytest.raises(ValueError, match=message):
        console.check_output("png", tmp_path / name, endings)


def test_files_that_can_be_written_pass(tmp_path):
    console.check_output("png", None, (".png",))
    console.check_output("png", tmp_path / "P.PNG", (".png",))
    (tmp_path / "there").touch()
    console.check_output("json", tmp_path / "there")


def test_what_the_user_can_mend_is_answered_as_typer_does():
    with pytest.raises(typer.BadParameter, match=r"^x must be 1, got 2$"), console.refusing("race", "other"):
        raise ValueError("race: x must be 1,\n  got 2")
    with pytest.raises(typer.BadParameter, match=r"^unknown: x$"), console.refusing("race"):
        raise TypeError("unknown: x")
    with pytest.raises(KeyError), console.refusing("race"):
        raise KeyError("a mistake of ours keeps its traceback")


def test_a_device_is_started_once(monkeypatch, capsys):
    assert console.start_device() == 0
    monkeypatch.setattr(console.jax.config, "update", lambda *_: None)
    assert console.start_device("cpu") == 0
    assert console.start_device("CPU") == 0
    assert console.start_device("tpu") == 1
    told = "jopt: JAX has no platform 'tpu' to run on here, or was told too late: it runs on 'cpu'.\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("platform", "plugins", "told"),
    [
        ("cpu", [], "cpu"),
        ("TPU", [], "tpu,cpu"),
        ("gpu", [], "cuda,cpu"),
        ("gpu", ["xla_cuda13"], "cuda,cpu"),
        ("GPU", ["rocm7"], "rocm,cpu"),  # JAX would take "gpu" for the platforms of all vendors, and fail
        ("cuda", ["rocm7"], "cuda,cpu"),
    ],
)
def test_what_jax_is_told_is_one_vendor_and_the_cpu_for_callbacks(monkeypatch, platform, plugins, told):
    found = [SimpleNamespace(name=name) for name in plugins]
    monkeypatch.setattr(console.metadata, "entry_points", lambda *, group: found * (group == "jax_plugins"))
    assert console.jax_platforms(platform) == told


@pytest.mark.parametrize(
    ("asked", "there", "code"),
    [
        ("", "cpu", 0),
        ("gpu", "gpu", 0),
        ("cuda", "gpu", 0),
        ("gpu", "rocm", 0),
        ("tpu", "tpu", 0),
        ("gpu", "cpu", 1),
        ("cpu", "gpu", 1),
    ],
)
def test_a_device_has_the_platform_that_was_asked_for(asked, there, code):
    assert console.lacks_platform(asked, there) == code


def test_a_text_goes_to_a_file_or_to_standard_output(capsys):
    assert console.write_text(console.STANDARD_OUTPUT, "text", None) == 0
    assert console.write_text(console.STANDARD_OUTPUT, "line\n", None) == 0
    assert capsys.readouterr().out == "text\nline\n"
    with pytest.raises(ValueError, match="--markdown must name a file, got '-'"):
        console.check_output("markdown", console.STANDARD_OUTPUT)


def test_markdown_has_names_on_one_line():
    assert console.markdown_grid(("a\nb", "c"), [("1", "2")]) == "| a b | c |\n| --- | --- |\n| 1 | 2 |"
