import type { JSX } from "preact";
import { Brand } from "./Brand";
import { ThemeMenu } from "./ThemeMenu";

/** The header of a page that needs no more in it than the way home and the theme. */
export function PageHeader({ home }: { home: string }): JSX.Element {
  return (
    <header class="page-header">
      <Brand href={home} />
      <div class="page-header-end">
        <ThemeMenu />
      </div>
    </header>
  );
}
