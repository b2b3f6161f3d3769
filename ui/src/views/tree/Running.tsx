/** The kernels that run: for which notebook, how they are, and how to end them. */
import type { JSX } from "preact";
import type { Kernel, Session } from "../../net/jupyter";
import { sizeText } from "../../outputs/dom";
import { Button } from "../common";
import { ShutDownIcon } from "../common/icons";
import { shutdownKernels } from "./actions";
import { KernelBadge } from "./FileList";
import type { Folder } from "./folder";
import { fullTime, timeAgo } from "./listing";
import type { Places } from "./places";

export function Running({ folder, places }: { folder: Folder; places: Places }): JSX.Element {
  const kernels = folder.kernels.value;
  if (kernels.length === 0) {
    return (
      <div class="empty">
        <h2>No kernel is running</h2>
        <p>A kernel starts when you run a cell, and goes on when you close the page. You find all of them here.</p>
      </div>
    );
  }
  const sessions = new Map<string, Session>(
    folder.sessions.value.map((session) => [session.kernel?.id ?? "", session]),
  );
  return (
    <section class="running" aria-label="Running kernels">
      <ul class="running-list">
        {kernels.map((kernel) => (
          <RunningKernel
            key={kernel.id}
            kernel={kernel}
            session={sessions.get(kernel.id)}
            folder={folder}
            places={places}
          />
        ))}
      </ul>
      {kernels.length > 1 && (
        <Button
          icon={ShutDownIcon}
          onClick={() =>
            void shutdownKernels(
              folder,
              kernels.map((kernel) => kernel.id),
            )
          }
        >
          Shut down all kernels
        </Button>
      )}
    </section>
  );
}

interface RunningKernelProps {
  kernel: Kernel;
  session: Session | undefined;
  folder: Folder;
  places: Places;
}

function RunningKernel({ kernel, session, folder, places }: RunningKernelProps): JSX.Element {
  const display = folder.kernelspecs.value?.kernelspecs[kernel.name]?.spec.display_name ?? kernel.name;
  const title = session?.path ?? "Kernel without a notebook";
  return (
    <li class="running-row">
      <div class="running-text">
        {session ? (
          <a class="running-title" href={places.notebook(session.path)}>
            {title}
          </a>
        ) : (
          <span class="running-title">{title}</span>
        )}
        <span class="row-facts">
          {display}
          {typeof kernel.memory === "number" && ` · ${sizeText(kernel.memory)} of memory`}
          {" · "}
          <time dateTime={kernel.last_activity} title={fullTime(kernel.last_activity)}>
            active {timeAgo(kernel.last_activity, folder.now.value)}
          </time>
        </span>
      </div>
      <KernelBadge state={kernel.execution_state} />
      <Button
        icon={ShutDownIcon}
        aria-label={`Shut down kernel of ${title}`}
        onClick={() => void shutdownKernels(folder, [kernel.id])}
      >
        Shut down
      </Button>
    </li>
  );
}
