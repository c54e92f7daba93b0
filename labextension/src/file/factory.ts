import { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';
import { ABCWidgetFactory, DocumentRegistry, DocumentWidget } from '@jupyterlab/docregistry';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

import { qnbIcon } from '../icons';
import { Dashboard } from './dashboard';

const FACTORY = 'qnb dashboard';

class DashboardFactory extends ABCWidgetFactory<DocumentWidget<Dashboard>> {
  constructor(
    private rendermime: IRenderMimeRegistry,
    options: DocumentRegistry.IWidgetFactoryOptions
  ) {
    super(options);
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget<Dashboard> {
    const widget = new DocumentWidget({ content: new Dashboard(this.rendermime, context), context });
    widget.title.icon = qnbIcon;
    return widget;
  }
}

/** `.qnb` files have an icon, and open read-only. */
export function addFileType(
  app: JupyterFrontEnd,
  rendermime: IRenderMimeRegistry,
  restorer: ILayoutRestorer | null
): void {
  app.docRegistry.addFileType({
    name: 'qnb',
    displayName: 'qnb workflow',
    extensions: ['.qnb'],
    mimeTypes: ['application/x-qnb'],
    contentType: 'file',
    fileFormat: 'base64',
    icon: qnbIcon
  });
  const options = { name: FACTORY, modelName: 'base64', fileTypes: ['qnb'], defaultFor: ['qnb'], readOnly: true };
  const factory = new DashboardFactory(rendermime, options);
  const tracker = new WidgetTracker<DocumentWidget<Dashboard>>({ namespace: 'qnb-dashboard' });
  factory.widgetCreated.connect((_, widget) => {
    widget.context.pathChanged.connect(() => void tracker.save(widget));
    void tracker.add(widget);
  });
  app.docRegistry.addWidgetFactory(factory);
  void restorer?.restore(tracker, {
    command: 'docmanager:open',
    args: widget => ({ path: widget.context.path, factory: FACTORY }),
    name: widget => widget.context.path
  });
}
