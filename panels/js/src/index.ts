import { LabelCorrection } from "./canvas";
import { missing, register } from "./host";

const lacking = missing();
if (lacking.length) {
  // Without the component the App says "Unsupported view"; the panel offers its plain viewer beside it.
  console.error(`Label correction: this FiftyOne App lacks ${lacking.join(", ")}; use the plain viewer.`);
} else {
  register("LabelCorrectionCanvas", LabelCorrection);
}
