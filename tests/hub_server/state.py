"""What a Hub remembers: repositories with commits, branches and tags; large files; who may do what."""

import hashlib
import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Login:
    """Whom a token belongs to, and what it may do."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"

    def may_read(self, owner: str) -> bool:
        return owner in (self.name, *self.orgs)

    def may_write(self, owner: str) -> bool:
        return self.role == "write" and self.may_read(owner)


LOGINS = {
    "hf_ada": Login("ada", ("lab",)),
    "hf_bob": Login("bob"),
    "hf_ada_reads": Login("ada", ("lab",), role="read"),
}


@dataclass(frozen=True)
class Blob:
    """A file of a commit; that of a large one lies in the storage, under its SHA-256."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        """What the client compares its file with: SHA-256 of a large one, else git's SHA-1."""
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    sha: str
    files: dict[str, Blob]
    summary: str
    parent: str | None


@dataclass
class Repo:
    """A repository: `refs` holds branches, tags and pull requests by their full git names."""

    kind: str
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    @property
    def history(self) -> list[str]:
        """Summaries of the commits of main, the last one first."""
        found, sha = [], self.refs["refs/heads/main"]
        while sha is not None:
            found.append(self.commits[sha].summary)
            sha = self.commits[sha].parent
        return found

    def resolve(self, revision: str) -> Commit | None:
        """The commit of a branch, tag, pull request or SHA."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        return self.commits.get(revision)

    def split(self, path: str) -> tuple[Commit | None, str]:
        """Revision and path of "main/a/b": a revision may hold slashes itself."""
        words = path.split("/")
        for count in range(1, len(words) + 1):
            if commit := self.resolve("/".join(words[:count])):
                return commit, "/".join(words[count:])
        return None, ""

    def commit(self, ref: str, files: dict[str, Blob], summary: str) -> Commit:
        parent = self.refs.get(ref)
        told = [parent, summary, {path: blob.oid for path, blob in sorted(files.items())}]
        sha = hashlib.sha1(json.dumps(told).encode()).hexdigest()
        self.commits[sha] = Commit(sha, files, summary, parent)
        self.refs[ref] = sha
        return self.commits[sha]

    def open_pull_request(self) -> str:
        """Return the ref of a new pull request, which starts at main."""
        number = 1 + sum(ref.startswith("refs/pr/") for ref in self.refs)
        self.refs[f"refs/pr/{number}"] = self.refs["refs/heads/main"]
        return f"refs/pr/{number}"


@dataclass
class State:
    """Repositories by (kind, name), and large files by SHA-256."""

    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)

    def create(self, kind: str, name: str, private: bool = False) -> Repo:
        """A repository as the Hub makes it: with a first commit that holds .gitattributes."""
        repo = self.repos[kind, name] = Repo(kind, name, private)
        attributes = Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)
        repo.commit("refs/heads/main", {".gitattributes": attributes}, "initial commit")
        return repo
