import type { Colour, Overlay } from "./mask";
import type { Box } from "./viewport";

/** What Python puts into the view: one question, and how to answer it. */
export type QuestionView = {
  tab: string; // the browser tab that Python takes this one for
  question: string; // "" before the first
  version: number; // another one for everything else that can change
  picture: string; // name of image and labels together
  image: string; // PNG or JPEG; "" if the browser has said that it has the picture
  labels: string; // grey PNG: index of the class, 255 for none; "" like the image
  size: [width: number, height: number];
  region: string; // grey PNG of the region's box
  region_at: [x: number, y: number];
  box: Box;
  point: [x: number, y: number];
  points: [x: number, y: number, positive: boolean][];
  given: string;
  names: string[];
  colours: Colour[];
  overlay: Overlay;
  keys: Record<string, [action: string, choice: string]>;
  overview: string; // the whole image in small, where the picture is a part of it; "" else
  part: [left: number, top: number, right: number, bottom: number]; // which part, as shares
  help: [keys: string, meaning: string][];
  height: string;
  on_act: string;
};
