import { CHARGED_OBJECTS, Container, expectCharged, test } from '../../harness/testing/index.ts';

const COUNT = 400;

test(
  'container.charged',
  'a container is charged to whoever opens it',
  {
    needs: [CHARGED_OBJECTS],
    covers: [],
    source: 'drivers/vfio/container.c vfio_fops_open()',
    since: '6.3',
  },
  ({ defer }) =>
    expectCharged({ count: COUNT }, () => {
      for (let opened = 0; opened < COUNT; opened++) {
        const container = Container.open();
        defer(() => container.close());
      }
    }),
);
