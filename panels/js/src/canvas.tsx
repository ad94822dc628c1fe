import { matching } from "./classes";
import { fill } from "./fill";
import { watchAttention } from "./focus";
import { React, usePython } from "./host";
import { makeLine } from "./line";
import { kept, makeScene } from "./scene";
import { tab } from "./tab";
import type { QuestionView } from "./view";

const FINDERS = ["/", "c"];
const ANSWERS = ["confirm", "choose", "skip"];
const QUIET = ["hold", "hello", "overlay"]; // an answer need not wait until these are through
const ZOOMS: Record<string, number> = { "+": 1.25, "=": 1.25, "-": 0.8 };
const PANS: Record<string, [right: number, down: number]> = {
  ArrowLeft: [80, 0],
  ArrowRight: [-80, 0],
  ArrowUp: [0, 80],
  ArrowDown: [0, -80],
};
const HOLD = 25_000; // milliseconds after which Python is told that somebody still looks at the question
const PLAQUE = {
  padding: "2px 10px",
  borderRadius: 4,
  background: "var(--fo-palette-background-level1, #fff)",
  color: "var(--fo-palette-text-primary, #222)",
} as const;
const LINE = "1px solid var(--fo-palette-divider, #8886)";
const CORNER = { ...PLAQUE, position: "absolute", left: 8, pointerEvents: "none" } as const;

/** The picture of a question: shows it, and sends Python what a person does with it. */
export function LabelCorrection({ schema: { view } }: { schema: { view: QuestionView } }) {
  const box = React.useRef<HTMLDivElement>(null);
  const canvas = React.useRef<HTMLCanvasElement>(null);
  const scene = React.useRef<ReturnType<typeof makeScene>>();
  const isAttended = React.useRef<() => boolean>(() => false);
  const [hovered, setHovered] = React.useState("");
  const [focused, setFocused] = React.useState(false);
  const [finding, setFinding] = React.useState(false);
  const [helping, setHelping] = React.useState(false);
  const [line] = React.useState(makeLine);
  const python = usePython();

  // Listeners live as long as the component, and see what was rendered last.
  const act = async (action: string, more: object = {}) => {
    const { question, seconds } = scene.current!;
    const about = { question: question(), seconds: seconds() };
    const send = async () => {
      const { view, python } = latest.current;
      return python(view.on_act, { action, ...about, ...more, tab: await tab, has: kept() });
    };
    const put = ANSWERS.includes(action) ? line.now : QUIET.includes(action) ? line.quietly : line.later;
    await put(send);
  };
  const latest = React.useRef({ view, python, act });
  latest.current = { view, python, act };

  React.useEffect(() => {
    const gone = new AbortController();
    const { signal } = gone;
    const onClick = (x: number, y: number, positive: boolean) => void latest.current.act("refine", { x, y, positive });
    const drawn = makeScene(box.current!, canvas.current!, { onHover: setHovered, onClick }, signal);
    scene.current = drawn;
    isAttended.current = watchAttention(box.current!.closest("[data-cy^=panel-content]") ?? box.current!, signal);
    // Not React's: the App listens for keys on the page, and would act on those that are meant for us.
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target !== box.current) return event.stopPropagation();
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const meant = latest.current.view.keys[key];
      const pan = event.shiftKey ? PANS[key] : undefined;
      if (key === "0") drawn.reset();
      else if (key === " ") drawn.space(true);
      else if (key === "?") setHelping((shown) => !shown);
      else if (key === "Escape") setHelping(false);
      else if (ZOOMS[key]) drawn.grow(ZOOMS[key]);
      else if (pan) drawn.pan(...pan);
      else if (FINDERS.includes(key)) setFinding(true);
      else if (!meant) return;
      else if (!event.repeat) void latest.current.act(meant[0], { choice: meant[1] });
      event.preventDefault();
      event.stopPropagation();
    };
    box.current!.addEventListener("keydown", pressed, { signal });
    box.current!.addEventListener("keyup", (event) => event.key === " " && drawn.space(false), { signal });
    box.current!.addEventListener("blur", () => drawn.space(false), { signal });
    fill(box.current!, signal);
    const still = setInterval(() => {
      if (drawn.question()) void latest.current.act("hold");
    }, HOLD);
    signal.addEventListener("abort", () => clearInterval(still));
    return () => gone.abort();
  }, []);

  // Python learns which tab this is, and sends what is not there.
  const lacking = view.question !== "" && !view.image && !kept().includes(view.picture);
  React.useEffect(() => {
    void tab.then((id) => {
      if (id !== latest.current.view.tab || lacking) void latest.current.act("hello");
    });
  }, [view.tab, lacking]);

  // The focus comes back when a button was answered, and once a question is drawn: the App gives it to new inputs.
  const focus = () => box.current!.focus({ preventScroll: true });
  const attend = () => {
    if (scene.current!.question() && isAttended.current()) focus();
  };
  React.useEffect(attend, [view]);
  React.useEffect(() => {
    if (view.question && !lacking) void scene.current!.show(view).then(attend);
  }, [view.question, view.version, view.picture, view.overlay, lacking]);

  return (
    <div
      ref={box}
      tabIndex={view.question ? 0 : -1}
      role="application"
      aria-label={view.given ? `Image with the region in question, labelled ${view.given}` : "Image"}
      data-cy="label-correction-canvas"
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
      style={{
        position: "relative",
        width: "100%",
        height: view.height,
        visibility: view.question ? undefined : "hidden", // while Python looks the first question up
        overflow: "hidden",
        touchAction: "none",
        outline: focused ? "2px solid var(--fo-palette-primary-main, #ff6d04)" : "none",
        outlineOffset: -2,
        background: "var(--fo-palette-background-level3, #777)",
        font: "14px/1.6 var(--fo-fontFamily-body, sans-serif)",
      }}
    >
      <canvas
        ref={canvas}
        onPointerDown={focus}
        style={{ position: "absolute", inset: 0, width: "100%", height: "100%", cursor: "crosshair" }}
      />
      {hovered && <div style={{ ...CORNER, top: 8 }}>{hovered}</div>}
      {!focused && !finding && view.question && (
        <div style={{ ...CORNER, bottom: 8 }}>Click here to answer with the keyboard</div>
      )}
      <button
        title="Keys (?)"
        aria-label="Show the keys"
        tabIndex={-1}
        onClick={() => {
          setHelping(!helping);
          focus();
        }}
        style={{ ...PLAQUE, position: "absolute", top: 8, right: 8, border: LINE, font: "inherit", cursor: "pointer" }}
      >
        ?
      </button>
      {helping && <Keys help={view.help} />}
      {finding && (
        <Finder
          names={view.names}
          left={() => setFinding(false)}
          chosen={(choice) => {
            focus();
            if (choice) void act("choose", { choice });
          }}
        />
      )}
    </div>
  );
}

/** What the keys do. */
function Keys({ help }: { help: QuestionView["help"] }) {
  return (
    <div
      data-cy="correction-keys"
      style={{
        ...PLAQUE,
        position: "absolute",
        inset: "8px 48px 8px auto",
        height: "fit-content",
        maxHeight: "calc(100% - 16px)",
        maxWidth: "calc(100% - 56px)",
        boxSizing: "border-box",
        overflow: "auto",
        padding: "8px 14px",
      }}
    >
      <table>
        <tbody>
          {help.map(([keys, meaning]) => (
            <tr key={keys}>
              <th scope="row" style={{ textAlign: "left", whiteSpace: "nowrap", paddingRight: 14 }}>
                {keys}
              </th>
              <td>{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Asks for a class by typing a part of its name; "" is told if none is wanted. */
function Finder(props: { names: string[]; chosen: (name: string) => void; left: () => void }) {
  const { names, chosen, left } = props;
  const [typed, setTyped] = React.useState("");
  const [place, setPlace] = React.useState(0);
  const found = matching(names, typed);
  const shown = found.slice(Math.max(0, place - 8), Math.max(0, place - 8) + 9);
  const press = (event: KeyboardEvent) => {
    const last = found.length - 1;
    if (event.key === "Escape") chosen("");
    else if (event.key === "Enter") chosen(found[place] ?? "");
    else if (event.key === "ArrowDown") setPlace(Math.min(place + 1, last));
    else if (event.key === "ArrowUp") setPlace(Math.max(place - 1, 0));
    else return;
    event.preventDefault();
  };
  return (
    <div data-cy="class-finder" style={{ ...PLAQUE, position: "absolute", top: 8, right: 8, padding: 8, width: 240 }}>
      <input
        ref={(input) => {
          if (input) input.onkeydown = press; // React's listeners are on the page, where no key of ours gets
        }}
        autoFocus
        value={typed}
        placeholder="Type a class, then Enter"
        aria-label="Class"
        onBlur={left}
        onChange={(event) => {
          setTyped(event.target.value);
          setPlace(0);
        }}
        style={{ width: "100%", font: "inherit", padding: "4px 6px", boxSizing: "border-box" }}
      />
      {shown.map((name) => (
        <div
          key={name}
          onPointerDown={(event) => {
            event.preventDefault();
            chosen(name);
          }}
          style={{
            padding: "2px 6px",
            cursor: "pointer",
            borderRadius: 3,
            background: name === found[place] ? "var(--fo-palette-action-selected, #8884)" : "none",
          }}
        >
          {name}
        </div>
      ))}
    </div>
  );
}
