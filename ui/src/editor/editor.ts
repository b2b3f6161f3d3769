/** The editor chunk: CodeMirror and what belongs to it. */
import { EditorView } from "@codemirror/view";

export const Editor = EditorView;
