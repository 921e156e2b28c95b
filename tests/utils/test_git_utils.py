"""What is recorded about the code is enough to restore it, and a machine without git is no error."""

import os
import subprocess
import sys

import pytest

from trajectory.utils import git_utils

IDENTITY = ['-c', 'user.name=someone', '-c', 'user.email=someone@example.org']


def git(folder, *command):
    command = ['git', *IDENTITY, *command]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def code(tmp_path):
    """A repository with one commit, and one file in a folder."""
    file = tmp_path / 'room' / 'code.py'
    file.parent.mkdir()
    file.write_text('one\n')
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'add', '.')
    git(tmp_path, 'commit', '-qm', 'first')
    return file


def test_the_commit_is_the_one_that_is_checked_out(code):
    first = git(code.parent, 'rev-parse', 'HEAD')
    assert git_utils.get_git_rev(code) == first

    git(code.parent, 'commit', '-qm', 'second', '--allow-empty')
    assert git_utils.get_git_rev(code) == git(code.parent, 'rev-parse', 'HEAD') != first
    git(code.parent, 'checkout', '-q', first)
    assert git_utils.get_git_rev(code) == first


def test_commit_and_patch_restore_the_code_that_ran(code, tmp_path):
    code.write_text('two\n')
    (code.parent / 'staged.py').write_text('größer, without an end of line')
    git(code.parent, 'add', 'staged.py')
    git_utils.save_git_diff(tmp_path / 'diff.txt', code)

    git(code.parent, 'reset', '-q', '--hard')
    assert code.read_text() == 'one\n'
    git(tmp_path, 'apply', 'diff.txt')
    assert code.read_text() == 'two\n'
    assert (code.parent / 'staged.py').read_text() == 'größer, without an end of line'


def test_colours_the_user_likes_stay_out_of_the_patch(code):
    git(code.parent, 'config', 'color.ui', 'always')
    code.write_text('two\n')
    assert '+two\n' in git_utils.git_diff(code)


def test_code_without_changes_has_an_empty_patch(code, tmp_path):
    git_utils.save_git_diff(tmp_path / 'diff.txt', code)
    assert (tmp_path / 'diff.txt').read_text() == ''


def test_outside_a_repository_there_is_nothing_to_record(tmp_path):
    (tmp_path / 'code.py').touch()
    assert git_utils.get_repo(tmp_path / 'code.py') is None
    assert git_utils.get_git_rev(tmp_path / 'code.py') is None
    git_utils.save_git_diff(tmp_path / 'diff.txt', tmp_path / 'code.py')
    assert not (tmp_path / 'diff.txt').exists()


def test_a_copy_installed_inside_the_repository_of_another_project_is_not_that_projects_commit(code):
    installed = code.parent / 'site-packages' / 'code.py'
    installed.parent.mkdir()
    installed.touch()
    assert git_utils.get_git_rev(installed) is None


def test_a_repository_without_commits_has_nothing_to_record(tmp_path):
    (tmp_path / 'code.py').touch()
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'add', '.')
    assert git_utils.get_git_rev(tmp_path / 'code.py') is None
    assert git_utils.git_diff(tmp_path / 'code.py') is None


def test_a_machine_without_git_has_nothing_to_record(tmp_path):
    probe = 'from trajectory.utils.git_utils import get_git_rev; print(get_git_rev())'
    bare = {**os.environ, 'PATH': str(tmp_path)}
    done = subprocess.run([sys.executable, '-c', probe], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout == 'None\n'


def test_a_repository_that_git_refuses_to_read_is_said_to_be_unrecorded(code):
    probe = f'from trajectory.utils.git_utils import get_git_rev; print(get_git_rev({str(code)!r}))'
    foreign = {**os.environ, 'GIT_TEST_ASSUME_DIFFERENT_OWNER': '1'}  # git's own switch for testing this
    command = [sys.executable, '-c', probe]
    done = subprocess.run(command, env=foreign, capture_output=True, text=True, check=True)
    assert done.stdout == 'None\n'
    assert 'no commit is recorded' in done.stderr
    assert 'safe.directory' in done.stderr
