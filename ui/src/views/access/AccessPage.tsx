/** Logins and tokens: which browsers have come in, what else may, and how to end each. */
import type { ComponentChildren, JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { PageConfig } from "../../main/config";
import { urlOf } from "../../net/rest";
import { Banner, Button, confirm, Icon, PageHeader } from "../common";
import { BackIcon } from "../common/icons";
import { fullTime, timeAgo } from "../tree/listing";
import { type AccessList, type Login, type ScopeKind, scopeText, type Token } from "./access_list";

export function AccessPage({ config, list }: { config: PageConfig; list: AccessList }): JSX.Element {
  return (
    <div class="access-page">
      <PageHeader home={urlOf(config.baseUrl, "tree")} />
      <main class="access-main">
        <a class="access-back" href={urlOf(config.baseUrl, "tree")}>
          <Icon icon={BackIcon} size={16} />
          Files
        </a>
        {list.trouble.value && <Banner level="error">{list.trouble.value}</Banner>}
        <Logins list={list} baseUrl={config.baseUrl} />
        <Tokens list={list} />
        <p class="access-note">
          {config.hasPassword
            ? "A new password, set by “homeport password” on the server's machine, ends all logins."
            : "“homeport password” on the server's machine sets a password, by which one can log in from the next start on."}
        </p>
      </main>
    </div>
  );
}

function Time({ iso }: { iso: string }): JSX.Element {
  return (
    <time dateTime={iso} title={fullTime(iso)}>
      {timeAgo(iso, Date.now())}
    </time>
  );
}

function Row({ title, children, action }: { title: string; children: ComponentChildren; action: JSX.Element }) {
  return (
    <li class="access-row">
      <div class="access-facts">
        <strong>{title}</strong>
        <span>{children}</span>
      </div>
      {action}
    </li>
  );
}

function Logins({ list, baseUrl }: { list: AccessList; baseUrl: string }): JSX.Element {
  const logins = list.logins.value;
  const others = logins?.filter((login) => !login.current).length ?? 0;
  return (
    <section aria-labelledby="logins">
      <div class="access-head">
        <h1 id="logins">Logins</h1>
        {others > 0 && <Button onClick={() => void endOthers(list, others)}>End all other logins</Button>}
      </div>
      {logins?.length === 0 && <p class="access-none">No browser has logged in.</p>}
      <ul class="access-list">
        {logins?.map((login) => (
          <Row
            key={login.id}
            title={login.current ? `This browser, ${login.program}` : login.program}
            action={
              login.current ? (
                <Button onClick={() => location.assign(`${baseUrl}logout`)}>Log out</Button>
              ) : (
                <Button aria-label={`End the login of ${login.program}`} onClick={() => void list.endLogin(login.id)}>
                  End
                </Button>
              )
            }
          >
            <LoginFacts login={login} />
          </Row>
        ))}
      </ul>
    </section>
  );
}

function LoginFacts({ login }: { login: Login }): JSX.Element {
  return (
    <>
      from {login.address || "this machine"}, logged in <Time iso={login.created} />, last seen{" "}
      <Time iso={login.last_seen} />
      {login.open_pages && ", with an open notebook"}
    </>
  );
}

async function endOthers(list: AccessList, count: number): Promise<void> {
  const sure = await confirm({
    title: "End all other logins?",
    text: `${count === 1 ? "One browser has" : `${count} browsers have`} to log in again. Kernels run on.`,
    action: "End them",
    danger: true,
  });
  if (sure) await list.endOtherLogins();
}

function Tokens({ list }: { list: AccessList }): JSX.Element {
  const tokens = list.tokens.value;
  return (
    <section aria-labelledby="tokens">
      <div class="access-head">
        <h2 id="tokens">Tokens</h2>
      </div>
      <p class="access-note">
        A token lets a program in, in the header <code>Authorization: token …</code>, or a browser, on the login page.
      </p>
      {list.made.value?.token && <MadeToken token={list.made.value} list={list} />}
      <ul class="access-list">
        {tokens?.map((token) => (
          <Row
            key={token.id}
            title={token.name}
            action={
              <Button aria-label={`Remove the token ${token.name}`} onClick={() => void remove(list, token)}>
                Remove
              </Button>
            }
          >
            {scopeText(token)}; made <Time iso={token.created} />,{" "}
            {token.last_used ? (
              <>
                last used <Time iso={token.last_used} />
              </>
            ) : (
              "never used"
            )}
            {token.expires ? `, good until ${fullTime(token.expires)}` : ", without an end"}
          </Row>
        ))}
      </ul>
      <TokenForm list={list} />
    </section>
  );
}

async function remove(list: AccessList, token: Token): Promise<void> {
  const sure = await confirm({
    title: `Remove the token “${token.name}”?`,
    text: "Whoever uses it is out at once.",
    action: "Remove",
    danger: true,
  });
  if (sure) await list.removeToken(token.id);
}

function MadeToken({ token, list }: { token: Token; list: AccessList }): JSX.Element {
  const shown = useRef<HTMLElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      // Over plain http browsers have no clipboard for pages.
      await navigator.clipboard.writeText(token.token ?? "");
      setCopied(true);
    } catch {
      if (shown.current) getSelection()?.selectAllChildren(shown.current);
    }
  };
  return (
    <Banner
      level="success"
      actions={<Button onClick={() => void copy()}>{copied ? "Copied" : "Copy"}</Button>}
      onDismiss={() => {
        list.made.value = null;
      }}
    >
      <p>The token “{token.name}”. It is shown this once only:</p>
      <code class="access-token" ref={shown}>
        {token.token}
      </code>
    </Banner>
  );
}

const DAY = 86400;
const LIFETIMES = [
  { value: DAY, label: "One day" },
  { value: 30 * DAY, label: "30 days" },
  { value: 365 * DAY, label: "One year" },
  { value: 0, label: "No end" },
];

function TokenForm({ list }: { list: AccessList }): JSX.Element {
  const [scope, setScope] = useState<ScopeKind>("all");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const made = await list.makeToken({
      name: String(data.get("name")),
      scope,
      folder: scope === "folder" ? String(data.get("folder")) : "",
      lifetime: Number(data.get("lifetime")) || null,
    });
    if (!made) return;
    form.reset();
    setScope("all");
  };
  return (
    <form class="access-form" aria-label="New token" onSubmit={(event) => void submit(event)}>
      <label class="field">
        <span>Name</span>
        <input class="input" name="name" required maxLength={100} autocomplete="off" placeholder="What it is for" />
      </label>
      <label class="field">
        <span>Good for</span>
        <select class="input" value={scope} onChange={(event) => setScope(event.currentTarget.value as ScopeKind)}>
          <option value="all">Everything</option>
          <option value="read">Reading only</option>
          <option value="folder">The files of one folder</option>
        </select>
      </label>
      {scope === "folder" && (
        <label class="field">
          <span>Folder</span>
          <input class="input" name="folder" required autocomplete="off" placeholder="data/shared" />
        </label>
      )}
      <label class="field">
        <span>For how long</span>
        <select class="input" name="lifetime" defaultValue={String(30 * DAY)}>
          {LIFETIMES.map(({ value, label }) => (
            <option key={value} value={value} selected={value === 30 * DAY}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <Button variant="primary" type="submit">
        Make a token
      </Button>
    </form>
  );
}
