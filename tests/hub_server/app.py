"""The two origins as Starlette apps: repositories, and the storage of large files."""

import base64
import hashlib
import json

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from .state import LOGINS, Blob, Commit, Login, Repo, State

LARGE = (".safetensors", ".parquet", ".png")
SIGNATURE = "signature=given-by-the-hub"


class Refusal(Exception):
    """An answer other than success: status, X-Error-Code, message."""

    def __init__(self, status: int, message: str, code: str = "", **body) -> None:
        self.status, self.body = status, {"error": message} | body
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


async def refused(request: Request, refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


def ranged(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    """The content, or the part of it that the header Range asks for."""
    headers, asked = {"Accept-Ranges": "bytes"} | headers, request.headers.get("Range")
    if asked is None or request.method == "HEAD":
        return Response(content, headers=headers, media_type="application/octet-stream")
    first, _, last = asked.removeprefix("bytes=").partition("-")
    begin = int(first) if first else len(content) - int(last)
    end = min(int(last), len(content) - 1) if first and last else len(content) - 1
    headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
    return Response(content[begin : end + 1], 206, headers, media_type="application/octet-stream")


class HubApp:
    """Repositories of models, datasets and Spaces."""

    def __init__(self, state: State) -> None:
        self.state, self.url, self.storage_url = state, "", ""

    def asgi(self) -> Starlette:
        api, repo = "/api/{kind}s/{owner}/{name}", "/{owner}/{name}"
        routes = [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/validate-yaml", self.validate, methods=["POST"]),
            Route(api, self.info),
            Route(api + "/revision/{revision:path}", self.info),
            Route(api + "/preupload/{revision:path}", self.preupload, methods=["POST"]),
            Route(api + "/commit/{revision:path}", self.commit, methods=["POST"]),
            Route(api + "/tree/{rest:path}", self.tree),
            Route(api + "/paths-info/{revision:path}", self.paths_info, methods=["POST"]),
            Route(api + "/refs", self.refs),
            Route(api + "/branch/{ref:path}", self.branch, methods=["POST"]),
            Route(api + "/tag/{revision:path}", self.tag, methods=["POST"]),
        ]
        for path in (repo, "/{plural}" + repo):
            routes.append(Route(path + ".git/info/lfs/objects/batch", self.batch, methods=["POST"]))
            routes.append(Route(path + ".git/info/lfs/verify", self.verify, methods=["POST"]))
            routes.append(Route(path + "/resolve/{rest:path}", self.file))
        return Starlette(routes=routes, exception_handlers={Refusal: refused})

    def login(self, request: Request) -> Login | None:
        """Who asks; None without a token."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in LOGINS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return LOGINS.get(token)

    def repo(self, request: Request, write: bool = False) -> Repo:
        login, at = self.login(request), request.path_params
        kind = at.get("kind") or at.get("plural", "models").removesuffix("s")
        repo = self.state.repos.get((kind, f"{at['owner']}/{at['name']}"))
        if repo is None or (repo.private and not (login and login.may_read(repo.owner))):
            raise Refusal(404 if login else 401, "Repository not found", "RepoNotFound")
        if write and not (login and login.may_write(repo.owner)):
            raise Refusal(403 if login else 401, f"You have no write access to {repo.name}")
        return repo

    def at(self, request: Request, repo: Repo) -> Commit:
        commit = repo.resolve(request.path_params.get("revision", "main"))
        if commit is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        return commit

    async def whoami(self, request: Request) -> Response:
        login = self.login(request)
        if login is None:
            raise Refusal(401, "Invalid username or password.")
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": login.role}}
        orgs = [{"name": org, "type": "org"} for org in login.orgs]
        return JSONResponse({"type": "user", "name": login.name, "orgs": orgs, "auth": auth})

    async def create(self, request: Request) -> Response:
        login, asked = self.login(request), await request.json()
        owner = asked.get("organization") or (login.name if login else "")
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        if login is None or not login.may_write(owner):
            raise Refusal(403 if login else 401, f"You don't have the rights to create under {owner}")
        url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.state.repos:
            raise Refusal(409, f"You already created this {kind} repo", url=url)
        if kind == "space" and not asked.get("sdk"):
            raise Refusal(400, "sdk is required")
        self.state.create(kind, name, asked.get("visibility") == "private")
        return JSONResponse({"url": url})

    async def validate(self, request: Request) -> Response:
        content, errors = (await request.json())["content"], []
        if content.startswith("---\n"):
            try:
                yaml.safe_load(content.split("\n---", 1)[0][4:])
            except yaml.YAMLError as error:
                errors = [{"message": f"bad YAML: {' '.join(str(error).split())}"}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def info(self, request: Request) -> Response:
        repo = self.repo(request)
        commit = self.at(request, repo)
        siblings = [{"rfilename": path} for path in commit.files]
        told = {"id": repo.name, "sha": commit.sha, "private": repo.private, "siblings": siblings}
        return JSONResponse(told | {"author": repo.owner, "tags": [], "downloads": 0, "likes": 0})

    async def preupload(self, request: Request) -> Response:
        repo = self.repo(request, write=not request.query_params.get("create_pr"))
        files, told = self.at(request, repo).files, []
        for file in (await request.json())["files"]:
            large = file["path"].endswith(LARGE) or file["size"] > 10_000_000
            entry = {"path": file["path"], "uploadMode": "lfs" if large else "regular"}
            known = {"oid": files[file["path"]].oid} if file["path"] in files else {}
            told.append(entry | {"shouldIgnore": False} | known)
        return JSONResponse({"files": told})

    async def batch(self, request: Request) -> Response:
        self.repo(request)
        verify, objects = str(request.url).replace("/objects/batch", "/verify"), []
        for asked in (await request.json())["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.state.storage:
                upload = {"href": f"{self.storage_url}/{asked['oid']}?{SIGNATURE}"}
                entry["actions"] = {"upload": upload, "verify": {"href": verify}}
            objects.append(entry)
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def verify(self, request: Request) -> Response:
        self.repo(request)
        asked = await request.json()
        stored = self.state.storage.get(asked["oid"])
        if stored is None or len(stored) != asked["size"]:
            raise Refusal(404, f"no object {asked['oid']} of {asked['size']} bytes")
        return JSONResponse({})

    async def commit(self, request: Request) -> Response:
        wanted = bool(request.query_params.get("create_pr"))
        repo = self.repo(request, write=not wanted)
        files, ref = dict(self.at(request, repo).files), f"refs/heads/{request.path_params['revision']}"
        if ref not in repo.refs:
            raise Refusal(404, "no such branch", "RevisionNotFound")
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        summary = ""
        for key, value in ((line["key"], line["value"]) for line in lines):
            if key == "header":
                summary = value["summary"]
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.state.storage:
                    raise Refusal(400, f"{value['path']}: its content was never uploaded")
                files[value["path"]] = Blob(self.state.storage[value["oid"]], True)
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise Refusal(400, f"unknown operation {key}")
        ref = repo.open_pull_request() if wanted else ref
        sha = repo.commit(ref, files, summary).sha
        told = {"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{repo.name}/commit/{sha}"}
        number = ref.rpartition("/")[2]
        told |= {"pullRequestUrl": f"{self.url}/{repo.name}/discussions/{number}"} if wanted else {}
        return JSONResponse(told)

    async def file(self, request: Request) -> Response:
        repo = self.repo(request)
        commit, path = repo.split(request.path_params["rest"])
        if commit is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            missing = Refusal(404, "Entry not found", "EntryNotFound")
            missing.headers |= headers
            raise missing
        blob = commit.files[path]
        headers["ETag"] = f'"{blob.oid}"'
        if not blob.large:
            return ranged(request, blob.content, headers)
        headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(blob.content))}
        return RedirectResponse(f"{self.storage_url}/{blob.oid}?{SIGNATURE}", 302, headers)

    async def tree(self, request: Request) -> Response:
        repo = self.repo(request)
        commit, folder = repo.split(request.path_params["rest"])
        if commit is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        prefix = f"{folder}/" if folder else ""
        inside = [path for path in commit.files if path.startswith(prefix)]
        if folder and not inside:
            raise Refusal(404, "no such folder", "EntryNotFound")
        deep = request.query_params.get("recursive", "").lower() in ("true", "1")
        shown = inside if deep else [path for path in inside if "/" not in path[len(prefix) :]]
        return JSONResponse(
            [self.entry(commit, path) for path in [*_folders(inside, prefix, deep), *shown]],
        )

    async def paths_info(self, request: Request) -> Response:
        commit, form = self.at(request, self.repo(request)), await request.form()
        known = {*commit.files, *_folders(commit.files, "", True)}
        return JSONResponse([self.entry(commit, path) for path in form.getlist("paths") if path in known])

    def entry(self, commit: Commit, path: str) -> dict:
        if path not in commit.files:
            oid = hashlib.sha1(path.encode()).hexdigest()
            return {"type": "directory", "path": path, "oid": oid, "size": 0}
        blob = commit.files[path]
        told = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid[:40]}
        large = {"oid": blob.oid, "size": len(blob.content), "pointerSize": 134}
        return told | ({"lfs": large} if blob.large else {})

    async def refs(self, request: Request) -> Response:
        repo, told = self.repo(request), {"branches": [], "tags": [], "converts": []}
        for ref, sha in repo.refs.items():
            for key, prefix in (("branches", "refs/heads/"), ("tags", "refs/tags/")):
                if ref.startswith(prefix):
                    entry = {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": sha}
                    told[key].append(entry)
        return JSONResponse(told)

    async def branch(self, request: Request) -> Response:
        return self._point(request, f"refs/heads/{request.path_params['ref']}", "main")

    async def tag(self, request: Request) -> Response:
        name = (await request.json())["tag"]
        return self._point(request, f"refs/tags/{name}", request.path_params["revision"])

    def _point(self, request: Request, ref: str, revision: str) -> Response:
        repo = self.repo(request, write=True)
        if ref in repo.refs:
            raise Refusal(409, f"{ref} exists")
        commit = repo.resolve(revision)
        if commit is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        repo.refs[ref] = commit.sha
        return JSONResponse({})


def _folders(paths, prefix: str, deep: bool) -> list[str]:
    found = {}
    for path in paths:
        words = path[len(prefix) :].split("/")[:-1]
        for count in range(1, (len(words) if deep else min(1, len(words))) + 1):
            found[prefix + "/".join(words[:count])] = None
    return list(found)


class StorageApp:
    """Content of large files, by signed links; it must never see a token."""

    def __init__(self, state: State) -> None:
        self.state = state

    def asgi(self) -> Starlette:
        route = Route("/{oid}", self.object, methods=["GET", "HEAD", "PUT"])
        return Starlette(routes=[route], exception_handlers={Refusal: refused})

    async def object(self, request: Request) -> Response:
        oid = request.path_params["oid"]
        if "Authorization" in request.headers:
            raise Refusal(400, "a token was sent to the storage")
        if str(request.url.query) != SIGNATURE:
            raise Refusal(403, "the link is not signed")
        if request.method == "PUT":
            content = await request.body()
            if hashlib.sha256(content).hexdigest() != oid:
                raise Refusal(400, "the content is not that of the oid")
            self.state.storage[oid] = content
            return Response()
        if oid not in self.state.storage:
            raise Refusal(404, "no such object")
        return ranged(request, self.state.storage[oid], {"ETag": f'"{oid}"'})
