/** Finds the ioctl that a number means on an fd. */
import { Ioctl, type FdKind } from '../abi/ioctl.ts';
import * as iommufd from '../abi/iommufd.ts';
import * as kvm from '../abi/kvm.ts';
import { VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU } from '../abi/vfio.ts';
import * as vfio from '../abi/vfio.ts';

const ALL: readonly Ioctl[] = [vfio, iommufd, kvm]
  .flatMap((module) => Object.values(module as Record<string, unknown>))
  .filter((item): item is Ioctl => item instanceof Ioctl)
  .sort((a, b) => (a.name < b.name ? -1 : 1));

/**
 * The ioctl of this number on an fd of this kind.
 * @param model the container's IOMMU model, if one was set: two numbers depend on it
 */
export function findIoctl(kind: FdKind, request: number, model?: number): Ioctl | undefined {
  const kinds = kind === 'iommufd' ? ['iommufd', 'container'] : [kind];
  const spapr = model === VFIO_SPAPR_TCE_IOMMU || model === VFIO_SPAPR_TCE_v2_IOMMU;
  const matching = kinds.flatMap((wanted) =>
    ALL.filter((ioctl) => ioctl.fd === wanted && ioctl.request === request),
  );
  return matching.find((ioctl) => ioctl.name.includes('SPAPR') === spapr) ?? matching[0];
}

/** What the number means on fds of any kind: for calls on the wrong one. */
export function meaningsOf(request: number): Ioctl[] {
  return ALL.filter((ioctl) => ioctl.request === request);
}

/**
 * What a number most likely means on an fd that is not known to take it: the ioctl whose argument
 * has the size (in bytes) of the one that was given.
 */
export function likelyIoctl(request: number, size?: number): Ioctl | undefined {
  const meanings = meaningsOf(request);
  return meanings.find((ioctl) => ioctl.struct?.size === size) ?? meanings[0];
}
