/** The tree page: a folder's files and the running kernels. */
export { Folder } from "./folder";
export { placesOf } from "./places";
export { TreePage, type TreePageProps } from "./TreePage";
export { Uploads } from "./uploads";
