import {
  CDEV,
  Container,
  VFIO_TYPE1v2_IOMMU,
  type Device,
  type Group,
  type Iommufd,
  type TestContext,
} from '../../../harness/testing/index.ts';

/** What tests of an iommufd in the place of a container need. */
export const AS_CONTAINER = { device: 'edu', needs: [CDEV] };

/** An iommufd, and the container that it is to those who know none. */
export function emptyIommufd({ iommufd }: TestContext): { io: Iommufd; container: Container } {
  const io = iommufd();
  return { io, container: new Container(io.fd) };
}

/** The same with a group in it and a device opened, so that its address space has an IOMMU. */
export function asContainer(
  context: TestContext,
  type: number = VFIO_TYPE1v2_IOMMU,
): { io: Iommufd; container: Container; group: Group; device: Device } {
  const { io, container } = emptyIommufd(context);
  const group = context.openGroup();
  group.setContainer(container);
  container.setIommu(type);
  return { io, container, group, device: context.openDevice(group) };
}

/** The group of {@link asContainer} taken out of the iommufd and put into a container of VFIO's own. */
export function intoType1(
  { emptyContainer }: TestContext,
  { group, device }: { group: Group; device: Device },
): Container {
  device.close();
  group.unsetContainer();
  const container = emptyContainer();
  group.setContainer(container);
  container.setIommu(VFIO_TYPE1v2_IOMMU);
  return container;
}
