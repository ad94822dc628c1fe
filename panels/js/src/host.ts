/** What the FiftyOne App offers to plugins, on `window`. No other file of this bundle knows the App. */

type Answer = { result?: unknown; error?: unknown };
type Call = { operator: string; params: object; callback?: (answer: Answer) => void };

type App = {
  React?: typeof import("react");
  __foo__?: { usePanelEvent?: () => (panel: string, call: Call) => void };
  __fosp__?: { usePanelId?: () => string };
  __fop__?: {
    PluginComponentType?: { Component: number };
    registerComponent?: (entry: {
      name: string;
      label: string;
      type: number;
      component: (props: never) => unknown;
      activator: () => boolean;
    }) => void;
  };
};

const app = window as unknown as App;

/** Names of the functions that this version of the App does not have; none if the viewer can run. */
export function missing(): string[] {
  const needed = {
    React: app.React?.useEffect,
    usePanelEvent: app.__foo__?.usePanelEvent,
    usePanelId: app.__fosp__?.usePanelId,
    registerComponent: app.__fop__?.registerComponent,
    PluginComponentType: app.__fop__?.PluginComponentType,
  };
  return Object.entries(needed)
    .filter(([, value]) => !value)
    .map(([name]) => name);
}

export const React = app.React!;

/** A function that calls a method of this panel in Python and tells when it has been answered. */
export function usePython(): (operator: string, params: object) => Promise<void> {
  const panel = app.__fosp__!.usePanelId!();
  const call = app.__foo__!.usePanelEvent!();
  return (operator, params) =>
    new Promise((done) => call(panel, { operator, params, callback: () => done() }));
}

/** Makes a component known to the App under the name that a view's `component` gives. */
export function register(name: string, component: (props: never) => unknown): void {
  const { registerComponent, PluginComponentType } = app.__fop__!;
  const type = PluginComponentType!.Component;
  registerComponent!({ name, label: name, type, component, activator: () => true });
}
