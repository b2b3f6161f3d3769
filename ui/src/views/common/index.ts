/** The parts that every page is made of. Import theme/index.css once per page. */
export { Banner, type Level } from "./Banner";
export { Brand, Mark } from "./Brand";
export { Button, type ButtonProps, IconButton, type IconButtonProps } from "./Button";
export { ask, askText, confirm, Dialog, type DialogProps, pick, type Question, showDialog } from "./Dialog";
export { Icon, type IconNode } from "./Icon";
export { MenuButton, type MenuButtonProps, type MenuItem, MenuList, type MenuListProps } from "./Menu";
export { PageHeader } from "./PageHeader";
export { ThemeMenu } from "./ThemeMenu";
export { Toaster, toast } from "./Toast";
