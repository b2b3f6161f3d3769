import type { JSX } from "preact";
import { chooseTheme, chosenTheme, type Theme } from "../../theme/theme";
import { DarkThemeIcon, LightThemeIcon, SystemThemeIcon } from "./icons";
import { MenuButton } from "./Menu";

const THEMES = [
  { theme: "system", label: "Like the system", icon: SystemThemeIcon },
  { theme: "light", label: "Light", icon: LightThemeIcon },
  { theme: "dark", label: "Dark", icon: DarkThemeIcon },
] as const satisfies { theme: Theme; label: string; icon: unknown }[];

/** The choice between light, dark, and what the system says. */
export function ThemeMenu(): JSX.Element {
  return (
    <MenuButton
      label="Choose light or dark"
      icon={LightThemeIcon}
      items={() =>
        THEMES.map(({ theme, label, icon }) => ({
          label,
          icon,
          checked: chosenTheme() === theme,
          onSelect: () => chooseTheme(theme),
        }))
      }
    />
  );
}
